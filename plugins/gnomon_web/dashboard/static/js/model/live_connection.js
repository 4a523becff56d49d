// The live connection, `gnomon.live.v1`: a snapshot at a position of the log, then every later event without a gap.
import { link } from './connection_state.js';

const PROTOCOL = 'gnomon.live.v1';
const SILENCE_MS = 25_000; // 2.5 heartbeats of the server: after that the connection is dead though not closed
const CONNECT_MS = 8_000; // a slower handshake hangs in a proxy
const ANSWER_MS = 5_000; // for a ping, when there is reason to doubt the connection

const RETRY_MS = 1_000;
const HIDDEN_RETRY_MS = 10_000;
const MAX_RETRY_MS = 10_000;

const NOT_LOGGED_IN = 4401;
const WRONG_ORIGIN = 4403;

/** @typedef {import('../types.d.ts').Snapshot} Snapshot */
/** @typedef {import('../types.d.ts').Delta} Delta */

/**
 * @typedef {object} Listeners
 * @property {(frame: Snapshot) => void} snapshot
 * @property {(frame: Delta) => void} delta
 * @property {(frame: { execution_id: string, lines: import('../types.d.ts').LogLine[], first: number }) => void} log
 * @property {(frame: { etas: Record<string, import('../types.d.ts').Eta | null> }) => void} etas
 * @property {(frame: { now?: string, version?: string, health?: import('../types.d.ts').Health }) => void} anyFrame every frame carries the time
 * @property {() => Promise<'there' | 'refused' | 'away'>} probe a cheap request: does the server answer, and does it accept the session?
 */

/**
 * Milliseconds until the next attempt: about a second while the page is visible, so it is live within two of the server's
 * return. Jittered: a hundred pages that lost the connection together must not reconnect together. Backs off from a
 * server that answers but rejects connections.
 * @param {boolean} isHidden @param {number} rejections in a row
 */
export const retryDelay = (isHidden, rejections) =>
  Math.min(isHidden ? HIDDEN_RETRY_MS : RETRY_MS * 2 ** rejections, MAX_RETRY_MS) * (0.7 + 0.6 * Math.random());

export class LiveConnection {
  /** @type {WebSocket | null} */
  socket = null;
  /** @type {string | null} */
  log = null;
  /** @type {number | null} */
  position = null;
  /** @type {Map<string, number>} topics and their number of subscribers */
  topics = new Map([['overview', 1]]);
  rejections = 0;
  isProbing = false;
  lastFrameAt = 0;
  timer = 0;

  /** @param {string} address @param {Listeners} listeners */
  constructor(address, listeners) {
    this.address = address;
    this.listeners = listeners;
    addEventListener('online', () => this.wake());
    addEventListener('pageshow', (event) => event.persisted && this.wake());
    document.addEventListener('visibilitychange', () => document.hidden || this.wake());
    setInterval(() => this.checkSilence(), 1000);
  }

  /** Connect now, and drop any scheduled attempt. */
  open() {
    clearTimeout(this.timer);
    this.disconnect();
    const socket = new WebSocket(this.address, [PROTOCOL]);
    this.socket = socket;
    this.lastFrameAt = performance.now();
    socket.onopen = () => this.send({ t: 'hello', log: this.log, after: this.position, topics: [...this.topics.keys()] });
    socket.onmessage = (message) => this.socket === socket && this.receive(JSON.parse(message.data));
    socket.onclose = (event) => this.socket === socket && this.closed(event.code);
  }

  /** Stay without a connection until `open` is called; a snapshot follows then. */
  pause() {
    clearTimeout(this.timer);
    this.disconnect();
    this.position = null;
  }

  /** Drop the socket without waiting for it to close. */
  disconnect() {
    const old = this.socket;
    this.socket = null;
    old?.close();
  }

  /** Subscribe to a topic beyond the overview; the function returned unsubscribes. @param {string} topic @returns {() => void} */
  subscribe(topic) {
    this.topics.set(topic, (this.topics.get(topic) ?? 0) + 1);
    this.send({ t: 'topics', topics: [...this.topics.keys()] });
    return () => {
      const left = (this.topics.get(topic) ?? 1) - 1;
      if (left > 0) this.topics.set(topic, left);
      else this.topics.delete(topic);
      this.send({ t: 'topics', topics: [...this.topics.keys()] });
    };
  }

  /** @param {object} frame */
  send(frame) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }

  /** @param {any} frame */
  receive(frame) {
    this.lastFrameAt = performance.now();
    this.listeners.anyFrame(frame);
    if (frame.t === 'snapshot') {
      this.log = frame.log;
      this.position = frame.seq;
      this.listeners.snapshot(frame);
    } else if (frame.t === 'delta') {
      const after = this.position ?? 0;
      const events = frame.events.filter((/** @type {any} */ event) => event.position > after);
      this.position = Math.max(after, frame.seq);
      this.listeners.delta({ ...frame, events });
    } else if (frame.t === 'etas') {
      this.listeners.etas(frame);
    } else if (frame.t === 'log') {
      this.listeners.log(frame);
    }
    if (frame.t === 'snapshot' || frame.t === 'delta') {
      this.rejections = 0;
      link.value = 'live';
      this.send({ t: 'ack', seq: this.position });
    }
  }

  /** @param {number} code */
  async closed(code) {
    this.socket = null;
    const failedAtOnce = link.peek() !== 'live';
    link.value = 'lost';
    if (code === NOT_LOGGED_IN || code === WRONG_ORIGIN) link.value = 'refused';
    else if (failedAtOnce) await this.failed();
    else this.retryLater();
  }

  /** A handshake failed: perhaps the session was rejected. */
  async failed() {
    const found = await this.listeners.probe();
    if (found === 'refused') link.value = 'refused';
    else this.retryLater(found === 'there');
  }

  retryLater(isRejected = false) {
    this.rejections = isRejected ? this.rejections + 1 : 0;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.retry(), retryDelay(document.hidden, this.rejections));
  }

  /** Connect if the server answers a probe. Browsers throttle sockets that failed repeatedly, but not requests. */
  async retry() {
    if (this.isProbing) return;
    this.isProbing = true;
    const found = await this.listeners.probe();
    this.isProbing = false;
    if (link.peek() !== 'lost' || this.socket !== null) return; // connected meanwhile
    if (found === 'refused') link.value = 'refused';
    else if (found === 'there') this.open();
    else this.retryLater();
  }

  /** The page is visible or online again: connect at once; an open connection has to answer a ping. */
  wake() {
    if (link.peek() === 'lost' && this.socket === null) this.retry();
    if (link.peek() !== 'live') return;
    this.send({ t: 'ping' });
    this.lastFrameAt = Math.min(this.lastFrameAt, performance.now() - SILENCE_MS + ANSWER_MS);
  }

  /** Detect a connection that died without being closed, for example while the machine slept. */
  checkSilence() {
    if (this.socket === null) return;
    const limit = this.socket.readyState === WebSocket.CONNECTING ? CONNECT_MS : SILENCE_MS;
    if (performance.now() - this.lastFrameAt <= limit) return;
    this.disconnect();
    link.value = 'lost';
    this.retry();
  }
}
