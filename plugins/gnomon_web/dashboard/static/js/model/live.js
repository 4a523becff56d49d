// The live connection, `gnomon.live.v1`: a snapshot at a position of the log, then what came after it, without a gap.
import { link } from './link.js';

const PROTOCOL = 'gnomon.live.v1';
const SILENCE = 25_000; // 2.5 times the server's heartbeat: longer, and the connection is dead without having been closed
const CONNECTING = 8_000; // a handshake that takes longer hangs in a proxy
const ANSWER = 5_000; // what a connection has to answer in, when there is a reason to doubt it

const PAUSE = 1_000;
const HIDDEN_PAUSE = 10_000;
const LONGEST_PAUSE = 10_000;

const NOT_LOGGED_IN = 4401;
const WRONG_ORIGIN = 4403;

/** @typedef {import('../types.d.ts').Snapshot} Snapshot */
/** @typedef {import('../types.d.ts').Delta} Delta */

/**
 * @typedef {object} Listeners
 * @property {(frame: Snapshot) => void} snapshot
 * @property {(frame: Delta) => void} delta
 * @property {(frame: { execution_id: string, lines: import('../types.d.ts').LogLine[], first: number }) => void} log
 * @property {(frame: { now?: string, version?: string, health?: import('../types.d.ts').Health }) => void} heard whatever comes tells the time
 * @property {() => Promise<'there' | 'refused' | 'away'>} look a cheap request: is the server there, and are we welcome?
 */

/**
 * How long to wait before the next try: about a second while somebody looks, so that the page is live again within two of the
 * server's return. Never the same twice: a hundred pages that lost it in one moment must not come back in one moment.
 * A server that is there and takes nobody is left in peace longer each time.
 * @param {boolean} isHidden @param {number} turnedAway times in a row
 */
export const pause = (isHidden, turnedAway) =>
  Math.min(isHidden ? HIDDEN_PAUSE : PAUSE * 2 ** turnedAway, LONGEST_PAUSE) * (0.7 + 0.6 * Math.random());

export class LiveConnection {
  /** @type {WebSocket | null} */
  socket = null;
  /** @type {string | null} */
  log = null;
  /** @type {number | null} */
  position = null;
  /** @type {Map<string, number>} topics and how many want them */
  topics = new Map([['overview', 1]]);
  turnedAway = 0;
  isLooking = false;
  heardAt = 0;
  timer = 0;

  /** @param {string} address @param {Listeners} listeners */
  constructor(address, listeners) {
    this.address = address;
    this.listeners = listeners;
    addEventListener('online', () => this.wake());
    addEventListener('pageshow', (event) => event.persisted && this.wake());
    document.addEventListener('visibilitychange', () => document.hidden || this.wake());
    setInterval(() => this.watch(), 1000);
  }

  /** Connect now, whatever was planned. */
  open() {
    clearTimeout(this.timer);
    this.leave();
    const socket = new WebSocket(this.address, [PROTOCOL]);
    this.socket = socket;
    this.heardAt = performance.now();
    socket.onopen = () => this.send({ t: 'hello', log: this.log, after: this.position, topics: [...this.topics.keys()] });
    socket.onmessage = (message) => this.socket === socket && this.take(JSON.parse(message.data));
    socket.onclose = (event) => this.socket === socket && this.closed(event.code);
  }

  /** Let go of the socket without waiting for its end. */
  leave() {
    const old = this.socket;
    this.socket = null;
    old?.close();
  }

  /** Ask for more than the overview while somebody looks at it. @param {string} topic @returns {() => void} */
  want(topic) {
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
  take(frame) {
    this.heardAt = performance.now();
    this.listeners.heard(frame);
    if (frame.t === 'snapshot') {
      this.log = frame.log;
      this.position = frame.seq;
      this.listeners.snapshot(frame);
    } else if (frame.t === 'delta') {
      const after = this.position ?? 0;
      const events = frame.events.filter((/** @type {any} */ event) => event.position > after);
      this.position = Math.max(after, frame.seq);
      this.listeners.delta({ ...frame, events });
    } else if (frame.t === 'log') {
      this.listeners.log(frame);
    }
    if (frame.t === 'snapshot' || frame.t === 'delta') {
      this.turnedAway = 0;
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

  /** A handshake failed: it may be a matter of who we are. */
  async failed() {
    const found = await this.listeners.look();
    if (found === 'refused') link.value = 'refused';
    else this.retryLater(found === 'there');
  }

  retryLater(isTurnedAway = false) {
    this.turnedAway = isTurnedAway ? this.turnedAway + 1 : 0;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.retry(), pause(document.hidden, this.turnedAway));
  }

  /** Connect if the server is there. It is asked first, since browsers hold back sockets that failed again and again, and requests they do not. */
  async retry() {
    if (this.isLooking) return;
    this.isLooking = true;
    const found = await this.listeners.look();
    this.isLooking = false;
    if (link.peek() !== 'lost' || this.socket !== null) return; // somebody was quicker
    if (found === 'refused') link.value = 'refused';
    else if (found === 'there') this.open();
    else this.retryLater();
  }

  /** Somebody looks again, or the network is back: try at once; a connection that seems to stand has to show that it does. */
  wake() {
    if (link.peek() === 'lost' && this.socket === null) this.retry();
    if (link.peek() !== 'live') return;
    this.send({ t: 'ping' });
    this.heardAt = Math.min(this.heardAt, performance.now() - SILENCE + ANSWER);
  }

  /** Notice a connection that is dead and was never closed, as after a sleep of the machine. */
  watch() {
    if (this.socket === null) return;
    const limit = this.socket.readyState === WebSocket.CONNECTING ? CONNECTING : SILENCE;
    if (performance.now() - this.heardAt <= limit) return;
    this.leave();
    link.value = 'lost';
    this.retry();
  }
}
