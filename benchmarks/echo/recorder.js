// Records all its inputs together and says when the marker is heard on the first.
const BATCH = 16;

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.marked = false;
    this.parts = [];
  }

  process(inputs) {
    const sounds = inputs.map((input) => (input[0] ? input[0].slice() : new Float32Array(128)));
    if (!this.marked) {
      const at = sounds[0].findIndex((value) => Math.abs(value) > 0.15);
      if (at >= 0) {
        this.marked = true;
        this.port.postMessage({ marker: currentFrame + at });
      }
    }
    this.parts.push(sounds);
    if (this.parts.length === BATCH) {
      this.port.postMessage({ frame: currentFrame + 128 - 128 * BATCH, parts: this.parts });
      this.parts = [];
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
