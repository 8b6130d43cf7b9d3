// The Realtime protocol over a WebSocket, and a clear word for every way in which it can fail.

export class Connection {
  /** `on` maps event types to functions; `on.closed` is told why, in words for people. */
  constructor(on) {
    this.on = on;
    this.socket = null;
    this.lastError = "";
  }

  get live() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  open(key) {
    const url = new URL("/v1/realtime?model=fullduplex", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const protocols = ["realtime"];
    if (key) protocols.push(`openai-insecure-api-key.${key}`);
    const socket = (this.socket = new WebSocket(url, protocols));
    let opened = false;
    return new Promise((resolve) => {
      socket.onopen = () => {
        opened = true;
        resolve(true);
      };
      socket.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        if (event.type === "error") this.lastError = event.error.message;
        this.on.any?.(event);
        this.on[event.type]?.(event);
      };
      socket.onclose = async ({ code, reason }) => {
        if (this.socket !== socket) return resolve(false);
        this.socket = null;
        const why = opened ? { reason: "closed", text: reason || this.lastError || `The connection was lost (${code}).`, code } : await diagnose();
        this.on.closed?.(why);
        resolve(false);
      };
    });
  }

  send(type, fields = {}) {
    if (this.live) this.socket.send(JSON.stringify({ type, ...fields }));
  }

  close() {
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
  }
}

/** Why a WebSocket could not be opened: browsers do not tell, the server does. */
export async function diagnose() {
  try {
    const health = await (await fetch("/healthz", { cache: "no-store" })).json();
    if (health.status !== "ok") return { reason: "draining", text: "The server is shutting down. Try again in a moment." };
    if (health.full) return { reason: "full", text: `All ${health.max_sessions} conversations of this server are taken. Try again in a moment.` };
    if (health.needs_key) return { reason: "key", text: "This server asks for an API key: enter it under Settings and start again." };
    return { reason: "refused", text: "The server refused the connection." };
  } catch {
    return { reason: "unreachable", text: "The server cannot be reached. Is fullduplex still running?" };
  }
}
