// Microphone and loudspeaker: one AudioContext, one worklet node.

const PROTOCOL_HZ = 24000;

/** Why there can be no sound here at all, in words for people; "" where there can. */
export const noSound = globalThis.isSecureContext
  ? ""
  : "Browsers allow microphone and sound on localhost or over https alone: start the server with --self-signed and open the https address it prints.";

export class MicrophoneError extends Error {
  constructor(message, reason) {
    super(message);
    this.reason = reason;
  }
}

const REASONS = {
  NotAllowedError: "The microphone is blocked. Allow it in the address bar and start again; you can type meanwhile.",
  NotFoundError: "No microphone was found. Plug one in and start again; you can type meanwhile.",
  NotReadableError: "The microphone is used by another program. Close that and start again; you can type meanwhile.",
};

async function openMicrophone({ echo, noise }) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new MicrophoneError("This browser offers pages no microphone. You can type.", "absent");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: echo === "browser", noiseSuppression: noise, autoGainControl: false },
    });
  } catch (error) {
    throw new MicrophoneError(REASONS[error.name] ?? `The microphone could not be opened: ${error.message}`, error.name);
  }
}

/** Opens both directions. `on` maps worklet messages (captured, report, flushed) to functions. */
export class Audio {
  constructor(on) {
    this.on = on;
    this.context = null;
    this.stream = null;
  }

  async open(options) {
    if (noSound) throw new Error(noSound);
    this.problem = this.stream = null;
    try {
      this.stream = await openMicrophone(options);
    } catch (error) {
      this.problem = error;
    }
    try {
      await this.build(PROTOCOL_HZ);
    } catch {
      await this.context?.close();
      await this.build(undefined); // the device's own rate; the worklet resamples
    }
  }

  async build(sampleRate) {
    this.context = new AudioContext({ sampleRate, latencyHint: "interactive" });
    await this.context.audioWorklet.addModule("/web/worklet.js");
    this.node = new AudioWorkletNode(this.context, "duplex", { numberOfInputs: 1, numberOfOutputs: 1, outputChannelCount: [1], channelCount: 1, channelCountMode: "explicit" });
    this.node.port.onmessage = ({ data }) => this.on[data.type]?.(data);
    this.node.connect(this.context.destination);
    if (this.stream) this.context.createMediaStreamSource(this.stream).connect(this.node);
    await this.context.resume();
  }

  play(item, epoch, start, pcm) {
    this.node?.port.postMessage({ type: "audio", item, epoch, start, pcm }, [pcm.buffer]);
  }

  flush(epoch) {
    this.node?.port.postMessage({ type: "flush", epoch });
  }

  mute(muted) {
    this.node?.port.postMessage({ type: "mute", muted });
  }

  describe() {
    if (!this.context) return "";
    const latency_ms = Math.round(1000 * ((this.context.baseLatency || 0) + (this.context.outputLatency || 0)));
    return `audio at ${this.context.sampleRate} Hz, output latency ${latency_ms} ms`;
  }

  async close() {
    const { stream, context } = this;
    this.stream = this.context = this.node = null;
    stream?.getTracks().forEach((track) => track.stop());
    if (context && context.state !== "closed") await context.close();
  }
}

export function toBase64(buffer) {
  const bytes = new Uint8Array(buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

export function pcmFromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const samples = new Int16Array(bytes.buffer);
  return Float32Array.from(samples, (value) => value / 32768);
}
