// The page: buttons and settings on one side, the protocol on the other.

import { Audio, noSound, pcmFromBase64, toBase64 } from "./audio.js";
import { Connection, diagnose } from "./connection.js";
import { Timeline } from "./timeline.js";
import { Transcript } from "./transcript.js";

const $ = (id) => document.getElementById(id);
const FLOORS = {
  off: "Ready when you are", idle: "Go ahead, I listen", listening: "Listening", thinking: "Thinking",
  speaking: "Speaking; interrupt me", overlap: "Waiting: was that for me?", closed: "Good-bye",
};

const timeline = new Timeline($("timeline"));
const transcript = new Transcript($("transcript"));
const log = (globalThis.fullduplexLog = []); // what happened, for tests and for the curious
const note = (type, fields = {}) => {
  log.push({ t: performance.now() / 1000, type, ...fields });
  if (log.length > 5000) log.splice(0, 1000);
};

const state = { floor: "off", muted: false, gaps: [], item: null, turn: null, resumed: 0, interrupted: 0, active: false };

// --- what people see -------------------------------------------------------------------------------------------------

function status(text, kind = "") {
  $("status").textContent = text;
  $("status").className = `pill ${kind}`;
}

function banner(text) {
  $("banner").textContent = text;
  $("banner").hidden = !text;
}

function floor(name) {
  state.floor = name;
  document.body.dataset.floor = name;
  $("floor").textContent = state.muted && name === "idle" ? "Muted" : FLOORS[name] ?? name;
  timeline.floor(name);
  $("timeline-text").textContent = FLOORS[name] ?? name;
  $("stop").disabled = !["thinking", "speaking", "overlap"].includes(name);
}

function show(id, text) {
  $(id).textContent = text;
}

function level(value) {
  $("orb").style.setProperty("--level", Math.max(0, Math.min(1, (20 * Math.log10(value + 1e-6) + 54) / 44)).toFixed(2));
}

// --- sound -----------------------------------------------------------------------------------------------------------

const audio = new Audio({
  captured({ pcm, item, epoch, played }) {
    const mark = item ? { fullduplex: { item_id: item, epoch, played_samples: played } } : {};
    connection.send("input_audio_buffer.append", { audio: toBase64(pcm), ...mark });
  },
  report({ item, epoch, played, stale, queued, playing, inRms, outRms }) {
    timeline.level(state.muted ? 0 : inRms, outRms, playing);
    level(playing ? outRms : state.muted ? 0 : inRms);
    const position = `${item} ${epoch} ${played}`;
    if (item && (playing || position !== state.position)) acknowledge(item, epoch, played);
    state.position = position;
    if (playing) note("played", { item, epoch, played, stale, queued });
  },
  flushed({ epoch, item, played, quanta }) {
    note("flushed", { epoch, item, played, quanta });
    if (item) acknowledge(item, epoch, played);
  },
});

function acknowledge(item_id, epoch, played_samples) {
  connection.send("fullduplex.playback", { item_id, epoch, played_samples });
}

// --- protocol --------------------------------------------------------------------------------------------------------

const connection = new Connection({
  any(event) {
    if (event.type !== "response.output_audio.delta") note(event.type, { event });
  },
  "session.created"({ session }) {
    if (!$("instructions").value) $("instructions").placeholder = session.instructions;
    $("names").textContent = `${session.model} · voice ${session.audio.output.voice}`;
    configure();
  },
  "input_audio_buffer.speech_started"({ item_id }) {
    state.turn = item_id;
    timeline.speechStarted();
  },
  "input_audio_buffer.speech_stopped"({ item_id }) {
    timeline.speechStopped();
    if (transcript.rows.get(item_id)?.element.classList.contains("open")) state.unsaid = item_id;
  },
  "fullduplex.transcript"({ item_id, text }) {
    transcript.user(item_id, text, { open: true });
  },
  "conversation.item.input_audio_transcription.completed"({ item_id, transcript: text }) {
    state.unsaid = null;
    transcript.user(item_id, text);
  },
  "response.output_audio_transcript.delta"({ item_id, delta }) {
    transcript.machineSays(item_id, delta);
  },
  "response.output_audio.delta"({ item_id, delta, fullduplex }) {
    if (!fullduplex) return;
    const pcm = pcmFromBase64(delta);
    note("audio", { item: item_id, epoch: fullduplex.epoch, start: fullduplex.start, samples: pcm.length });
    audio.play(item_id, fullduplex.epoch, fullduplex.start, pcm);
  },
  "fullduplex.flush"({ epoch }) {
    audio.flush(epoch);
  },
  "fullduplex.heard"({ item_id, text, complete, done, cause }) {
    const cut = done && !complete && text !== "";
    if (cut) {
      state.interrupted += 1;
      show("interrupted", state.interrupted);
      timeline.mark("cut");
    }
    transcript.machineHeard(item_id, text, { done, complete, note: cut ? reason(cause) : "" });
  },
  "fullduplex.resumed"({ cause }) {
    state.resumed += 1;
    show("resumed", state.resumed);
    timeline.mark("resumed");
    if (state.unsaid) transcript.aside(state.unsaid, "it went on: not an interruption");
    state.unsaid = null;
    note("resumed", { cause });
  },
  "fullduplex.turn"({ after }) {
    if (after === "idle" && state.unsaid) transcript.remove(state.unsaid); // a sound without words
    state.unsaid = null;
    floor(after);
  },
  "fullduplex.latency"({ reply_gap_ms, stop_ms }) {
    if (reply_gap_ms !== undefined) {
      state.gaps.push(reply_gap_ms);
      const sorted = [...state.gaps].sort((a, b) => a - b);
      show("gap", `${reply_gap_ms} ms`);
      $("gap").title = `median ${sorted[sorted.length >> 1]} ms of ${sorted.length}`;
    }
    if (stop_ms !== undefined) show("silent", `${stop_ms} ms`);
  },
  error({ error }) {
    banner(error.message);
  },
  closed({ reason: why, text }) {
    note("closed", { reason: why, text });
    if (why === "key") {
      $("key-row").hidden = false;
      $("settings").open = true;
      $("key").focus();
    }
    finish();
    status(why === "full" ? "server full" : why === "unreachable" ? "no server" : "disconnected", "bad");
    banner(text);
  },
});

function reason(cause) {
  if (!cause) return "";
  return cause.startsWith("interrupted") ? "interrupted: struck words were not heard" : `${cause}: struck words were not heard`;
}

function configure() {
  const session = {
    type: "realtime",
    audio: { input: { turn_detection: { type: "semantic_vad", eagerness: $("eagerness").value } } },
    fullduplex: {
      playback_acks: true,
      echo_cancellation: $("echo").value === "server",
      vad_threshold: Number($("threshold").value),
    },
  };
  if ($("instructions").value.trim()) session.instructions = $("instructions").value.trim();
  connection.send("session.update", { session });
}

// --- buttons ---------------------------------------------------------------------------------------------------------

async function start() {
  $("start").disabled = true;
  banner("");
  status("connecting");
  state.active = true;
  const opened = await connection.open($("key").value.trim());
  $("start").disabled = false;
  if (!opened) return;
  try {
    await audio.open({ echo: $("echo").value, noise: $("noise").checked });
  } catch (error) {
    connection.close();
    finish();
    status("no sound", "bad");
    banner(noSound || `The browser could not start its sound: ${error.message}`);
    return;
  }
  if (audio.problem) {
    banner(audio.problem.message);
    note("microphone", { reason: audio.problem.reason });
  }
  if (audio.problem) status("connected, no microphone", "bad");
  else status("live", "live");
  $("start").textContent = "Hang up";
  $("start").classList.add("on");
  $("mute").disabled = Boolean(audio.problem);
  $("audio-text").textContent = audio.describe();
  audio.mute(state.muted);
  floor("idle");
}

function finish() {
  state.active = false;
  audio.close();
  audio.problem = null;
  timeline.speechStopped();
  $("start").textContent = "Start talking";
  $("start").classList.remove("on");
  $("start").disabled = false;
  $("mute").disabled = true;
  floor("off");
  level(0);
}

function toggle() {
  if (!state.active) return start();
  connection.close();
  finish();
  status("not connected");
  return undefined;
}

function mute() {
  if ($("mute").disabled) return;
  state.muted = !state.muted;
  $("mute").setAttribute("aria-pressed", String(state.muted));
  $("mute").firstChild.textContent = state.muted ? "Unmute " : "Mute ";
  audio.mute(state.muted);
  floor(state.floor);
}

function stop() {
  if (!$("stop").disabled) connection.send("response.cancel");
}

async function type(text) {
  if (!connection.live) await start();
  if (!connection.live) return;
  const id = `typed_${Math.random().toString(36).slice(2, 10)}`;
  if (!$("stop").disabled) connection.send("response.cancel");
  connection.send("conversation.item.create", {
    item: { id, type: "message", role: "user", content: [{ type: "input_text", text }] },
  });
  connection.send("response.create");
  transcript.user(id, text);
}

$("start").addEventListener("click", toggle);
$("mute").addEventListener("click", mute);
$("stop").addEventListener("click", stop);
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("typed").value.trim();
  $("typed").value = "";
  if (text) type(text);
});
for (const id of ["threshold", "eagerness", "instructions"]) $(id).addEventListener("change", configure);
$("threshold").addEventListener("input", () => show("threshold-text", Number($("threshold").value).toFixed(2)));
for (const id of ["echo", "noise"]) {
  $(id).addEventListener("change", async () => {
    configure();
    if (!state.active) return;
    stop(); // what the old player held would never be acknowledged
    await audio.close();
    await audio.open({ echo: $("echo").value, noise: $("noise").checked });
    audio.mute(state.muted);
  });
}
document.addEventListener("keydown", (event) => {
  const writing = event.target.closest?.("input, textarea, select, summary, button");
  if (event.key === "Escape") stop();
  else if (event.key === " " && !writing) {
    event.preventDefault();
    mute();
  }
});
addEventListener("pagehide", () => connection.close());

// A link that ends in #key=SECRET saves typing on a phone; what stands behind the # never leaves the browser.
const given = new URLSearchParams(location.hash.slice(1)).get("key");
if (given) {
  $("key").value = given;
  history.replaceState(null, "", location.pathname + location.search);
}

fetch("/healthz").then((reply) => reply.json()).then((health) => {
  $("names").textContent = `${health.model} · voice ${health.voice}`;
  $("key-row").hidden = !health.needs_key;
  if (noSound) banner(noSound);
  if (health.full) diagnose().then(({ text }) => banner(text));
}).catch(() => diagnose().then(({ text }) => {
  status("no server", "bad");
  banner(text);
}));
