// Who speaks when: two lanes that scroll, overlaps highlighted, the floor as a band between them.

const SPAN_S = 20;
const FRAMES_HZ = 15;
const FLOORS = { idle: "faint", listening: "caller", thinking: "think", speaking: "machine", overlap: "both" };

export class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.levels = []; // {t, in, out, playing}
    this.floors = []; // {t, floor}
    this.speech = []; // {from, to}
    this.marks = []; // {t, label}
    this.colours = {};
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", () => this.readColours());
    this.readColours();
    new ResizeObserver(() => this.draw()).observe(canvas);
    // Not every animation frame, and nothing while nothing moves: the models may share this machine's cores.
    setInterval(() => !document.hidden && this.moving() && this.draw(), 1000 / FRAMES_HZ);
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "quiet", "faint", "line", "caller", "machine", "both", "think", "panel"]) {
      this.colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  moving() {
    const last = Math.max(this.levels.at(-1)?.t ?? -Infinity, this.floors.at(-1)?.t ?? -Infinity);
    return this.now() - last < SPAN_S + 1;
  }

  now() {
    return performance.now() / 1000;
  }

  level(inRms, outRms, playing) {
    this.levels.push({ t: this.now(), in: inRms, out: outRms, playing });
    const oldest = this.now() - SPAN_S - 1;
    while (this.levels.length && this.levels[0].t < oldest) this.levels.shift();
    while (this.speech.length && (this.speech[0].to ?? Infinity) < oldest) this.speech.shift();
    while (this.floors.length > 1 && this.floors[1].t < oldest) this.floors.shift();
    while (this.marks.length && this.marks[0].t < oldest) this.marks.shift();
  }

  floor(floor) {
    this.floors.push({ t: this.now(), floor });
  }

  speechStarted() {
    this.speech.push({ from: this.now() - 0.06, to: null });
  }

  speechStopped() {
    const last = this.speech.at(-1);
    if (last && last.to === null) last.to = this.now();
  }

  mark(label) {
    this.marks.push({ t: this.now(), label });
  }

  speaking(t) {
    return this.speech.some((span) => t >= span.from && t <= (span.to ?? Infinity));
  }

  draw() {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    const lanes = { top: height * 0.24, bottom: height * 0.76, half: height * 0.22, band: height * 0.5 };
    const x = (t) => width - ((this.now() - t) / SPAN_S) * width;
    this.grid(g, x, width, height, lanes);
    this.bars(g, x, width, lanes);
    this.floorBand(g, x, width, lanes);
    this.drawMarks(g, x, height);
  }

  grid(g, x, width, height, lanes) {
    const { line, faint } = this.colours;
    g.fillStyle = line;
    for (let s = Math.ceil(this.now() - SPAN_S); s <= this.now(); s++) g.fillRect(Math.round(x(s)), 0, s % 5 ? 0.5 : 1, height);
    g.fillStyle = faint;
    g.fillRect(0, lanes.top, width, 0.5);
    g.fillRect(0, lanes.bottom, width, 0.5);
  }

  bars(g, x, width, lanes) {
    const size = Math.max((0.05 / SPAN_S) * width - 1, 1.5);
    const tall = (rms) => Math.max(Math.min((20 * Math.log10(rms + 1e-6) + 54) / 44, 1), 0) * lanes.half;
    for (const { t, in: inRms, out: outRms, playing } of this.levels) {
      const user = this.speaking(t);
      const both = user && playing;
      const up = Math.max(tall(inRms), 0.75);
      const down = Math.max(tall(outRms), playing ? 0.75 : 0);
      g.globalAlpha = user ? 1 : 0.35;
      g.fillStyle = both ? this.colours.both : this.colours.caller;
      g.fillRect(x(t) - size, lanes.top - up, size, 2 * up);
      g.globalAlpha = 1;
      if (!down) continue;
      g.fillStyle = both ? this.colours.both : this.colours.machine;
      g.fillRect(x(t) - size, lanes.bottom - down, size, 2 * down);
    }
  }

  floorBand(g, x, width, lanes) {
    this.floors.forEach(({ t, floor }, i) => {
      const from = Math.max(x(t), 0);
      const to = i + 1 < this.floors.length ? x(this.floors[i + 1].t) : width;
      g.fillStyle = this.colours[FLOORS[floor] ?? "faint"];
      g.globalAlpha = floor === "idle" ? 0.25 : 0.9;
      g.fillRect(from, lanes.band - 2, Math.max(to - from - 1, 1), 4);
    });
    g.globalAlpha = 1;
  }

  drawMarks(g, x, height) {
    g.font = "11px system-ui, sans-serif";
    g.lineWidth = 4;
    g.strokeStyle = this.colours.panel;
    for (const { t, label } of this.marks) {
      g.fillStyle = this.colours.both;
      g.fillRect(x(t), height * 0.5 - 6, 1, 12);
      g.textAlign = x(t) < 60 ? "left" : "right";
      g.strokeText(label, x(t) - 3, height * 0.5 - 6);
      g.fillStyle = this.colours.quiet;
      g.fillText(label, x(t) - 3, height * 0.5 - 6);
    }
  }
}
