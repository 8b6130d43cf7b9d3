// What was said, and of the machine's words, which were heard.

export class Transcript {
  constructor(list) {
    this.list = list;
    this.rows = new Map();
  }

  row(id, role) {
    let row = this.rows.get(id);
    if (!row) {
      this.list.querySelector(".hint")?.remove();
      const element = document.createElement("li");
      element.className = role;
      row = { element, text: "", heard: "" };
      this.rows.set(id, row);
      this.list.append(element);
    }
    return row;
  }

  user(id, text, { open = false } = {}) {
    if (!text && !this.rows.has(id)) return;
    const row = this.row(id, "user");
    row.text = text;
    row.element.textContent = text;
    row.element.classList.toggle("open", open);
    this.scroll();
  }

  remove(id) {
    this.rows.get(id)?.element.remove();
    this.rows.delete(id);
  }

  /** Something said beside the conversation. */
  aside(id, note) {
    const row = this.rows.get(id);
    if (!row) return;
    const small = document.createElement("small");
    small.textContent = note;
    row.element.append(small);
  }

  machineSays(id, delta) {
    const row = this.row(id, "machine");
    row.text += delta;
    this.show(row);
  }

  /** `text` is what has been heard; the rest is still to come, or will never be heard. */
  machineHeard(id, text, { done = false, complete = true, note = "" } = {}) {
    if (done && !text) return this.remove(id); // given up before a word of it was heard
    if (!text && !this.rows.has(id)) return undefined;
    const row = this.row(id, "machine");
    row.heard = text;
    if (done && complete) row.heard = row.text;
    row.element.classList.toggle("cut", done && !complete);
    return this.show(row, note);
  }

  show(row, note = "") {
    const words = row.text.split(/\s+/).filter(Boolean);
    const count = row.heard.split(/\s+/).filter(Boolean).length;
    const heard = document.createElement("span");
    heard.textContent = words.slice(0, count).join(" ");
    const unheard = document.createElement("span");
    unheard.className = "unheard";
    unheard.textContent = (count ? " " : "") + words.slice(count).join(" ");
    row.element.replaceChildren(heard, unheard);
    if (note) {
      const small = document.createElement("small");
      small.textContent = note;
      row.element.append(small);
    }
    this.scroll();
  }

  scroll() {
    this.list.scrollTop = this.list.scrollHeight;
  }
}
