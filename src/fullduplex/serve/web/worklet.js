// One processor for both directions, so that microphone and loudspeaker share one clock: every piece of captured sound
// carries the exact position of the loudspeaker at its last sample.

const PROTOCOL_HZ = 24000;
const CHUNK = 480; // 20 ms of captured sound at 24 kHz
const REPORT_S = 0.05;
const FADE_S = 0.003;
const HALF = 16; // zero crossings on each side of the interpolation kernel

/** A streaming windowed-sinc resampler for any pair of rates; a copy where they are equal. */
class Resampler {
  constructor(inHz, outHz) {
    this.step = inHz / outHz;
    this.cutoff = Math.min(1, outHz / inHz) * 0.94;
    this.half = Math.ceil(HALF / Math.min(1, outHz / inHz));
    this.buffer = new Float32Array(2 * this.half);
    this.at = this.half - 1; // position of the next output in the buffer
  }

  push(input) {
    if (this.step === 1) return input.slice();
    const buffer = new Float32Array(this.buffer.length + input.length);
    buffer.set(this.buffer);
    buffer.set(input, this.buffer.length);
    const out = [];
    while (Math.floor(this.at) + this.half < buffer.length) {
      out.push(this.sample(buffer, this.at));
      this.at += this.step;
    }
    const drop = Math.max(Math.floor(this.at) - this.half + 1, 0);
    this.buffer = buffer.slice(drop);
    this.at -= drop;
    return Float32Array.from(out);
  }

  sample(buffer, at) {
    const first = Math.floor(at) - this.half + 1;
    let sum = 0;
    let weight = 0;
    for (let i = first; i < first + 2 * this.half; i++) {
      const x = i - at;
      const window = 0.5 + 0.5 * Math.cos((Math.PI * x) / this.half);
      const y = Math.PI * x * this.cutoff;
      const tap = (y === 0 ? 1 : Math.sin(y) / y) * window;
      sum += buffer[i] * tap;
      weight += tap;
    }
    return sum / weight;
  }
}

/** The loudspeaker: a queue of sound that obeys flushes at once and always knows how much it has played. */
class Player {
  constructor(hz) {
    this.hz = hz;
    this.fade = Math.min(Math.round(FADE_S * hz), 128);
    this.queue = [];
    this.epoch = 0;
    this.item = null;
    this.played = 0; // samples of the item, at 24 kHz
    this.stale = 0;
    this.fading = null; // {epoch, left}
    this.rising = 0;
    this.fresh();
  }

  fresh() {
    this.resampler = new Resampler(PROTOCOL_HZ, this.hz);
    this.expected = -1;
  }

  push({ item, epoch, start, pcm }) {
    if (epoch < this.epoch) {
      this.stale += pcm.length;
      return;
    }
    if (item !== this.lastItem || start !== this.expected) this.fresh();
    this.lastItem = item;
    this.expected = start + pcm.length;
    if (!this.queue.length && start > 0 && start === this.played && item === this.item && this.silent) this.rising = this.fade;
    this.queue.push({ item, start, size: pcm.length, pcm: this.resampler.push(pcm), at: 0 });
  }

  flush(epoch) {
    if (epoch <= this.epoch) return false;
    this.epoch = epoch;
    this.fading = { epoch, left: this.queue.length ? this.fade : 0, frame: currentFrame };
    return true;
  }

  /** Fills `out`; returns {energy, flushed}. */
  pull(out) {
    let i = 0;
    let energy = 0;
    while (i < out.length && this.queue.length && !(this.fading && this.fading.left === 0)) {
      const head = this.queue[0];
      while (i < out.length && head.at < head.pcm.length && !(this.fading && this.fading.left === 0)) {
        let value = head.pcm[head.at++];
        if (this.fading) value *= --this.fading.left / this.fade;
        if (this.rising > 0) value *= 1 - --this.rising / this.fade;
        energy += value * value;
        out[i++] = value;
      }
      this.item = head.item;
      const done = head.at >= head.pcm.length;
      this.played = head.start + (done ? head.size : Math.floor((head.size * head.at) / head.pcm.length));
      if (done) this.queue.shift();
    }
    this.silent = i === 0;
    let flushed = null;
    if (this.fading && (this.fading.left === 0 || !this.queue.length)) {
      flushed = { epoch: this.fading.epoch, item: this.item, played: this.played, quanta: (currentFrame + 128 - this.fading.frame) / 128 };
      this.queue = [];
      this.fading = null;
      this.fresh();
    }
    return { energy, flushed, playing: i > 0 };
  }
}

class Duplex extends AudioWorkletProcessor {
  constructor() {
    super();
    this.player = new Player(sampleRate);
    this.down = new Resampler(sampleRate, PROTOCOL_HZ);
    this.captured = new Float32Array(CHUNK);
    this.count = 0;
    this.muted = false;
    this.reported = 0;
    this.energy = { in: 0, out: 0, samples: 0 };
    this.last = "";
    this.port.onmessage = ({ data }) => this.take(data);
  }

  take(data) {
    if (data.type === "audio") this.player.push(data);
    else if (data.type === "flush") {
      if (!this.player.flush(data.epoch)) this.post("flushed", { epoch: this.player.epoch, item: this.player.item, played: this.player.played, quanta: 0 });
    } else if (data.type === "mute") this.muted = data.muted;
  }

  post(type, fields, transfer = []) {
    this.port.postMessage({ type, frame: currentFrame, ...fields }, transfer);
  }

  process(inputs, outputs) {
    const out = outputs[0][0];
    const { energy, flushed, playing } = this.player.pull(out);
    for (let c = 1; c < outputs[0].length; c++) outputs[0][c].set(out);
    if (flushed) this.post("flushed", flushed);
    const input = inputs[0] && inputs[0][0];
    if (input) this.capture(input);
    this.energy.out += energy;
    this.energy.samples += out.length;
    this.playing = playing || this.playing;
    if (currentTime - this.reported >= REPORT_S) this.report();
    return true;
  }

  capture(input) {
    const pcm = this.down.push(input);
    for (const value of pcm) {
      this.energy.in += (value * value * sampleRate) / PROTOCOL_HZ;
      this.captured[this.count++] = this.muted ? 0 : value;
      if (this.count === CHUNK) this.ship();
    }
  }

  ship() {
    const pcm = new Int16Array(CHUNK);
    for (let i = 0; i < CHUNK; i++) pcm[i] = Math.max(-32768, Math.min(32767, Math.round(this.captured[i] * 32768)));
    this.count = 0;
    const { item, epoch, played } = this.player;
    this.post("captured", { pcm: pcm.buffer, item, epoch, played }, [pcm.buffer]);
  }

  report() {
    const { in: heard, out, samples } = this.energy;
    const { item, epoch, played, stale } = this.player;
    const queued = this.player.queue.reduce((sum, head) => sum + head.pcm.length - head.at, 0);
    this.post("report", {
      item, epoch, played, stale, queued, playing: this.playing,
      inRms: Math.sqrt(heard / samples), outRms: Math.sqrt(out / samples),
    });
    this.energy = { in: 0, out: 0, samples: 0 };
    this.playing = false;
    this.reported = currentTime;
  }
}

registerProcessor("duplex", Duplex);
