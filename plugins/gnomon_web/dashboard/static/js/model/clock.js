// The server's time. It stands still while the connection is lost: a running timer would claim that the run is still
// going.
import { effect, signal } from '../core/signals.js';
import { link } from './connection_state.js';

export const DAY = 86_400_000;

let clockOffset = 0; // milliseconds by which the server's clock is ahead of the browser's

/** Milliseconds since 1970 on the server's clock, updated once a second. */
export const now = signal(Date.now());

/** Synchronize with the time in a frame. Frames come up to ten times a second; the signal changes once. @param {string} iso */
export function syncClock(iso) {
  const at = Date.parse(iso);
  clockOffset = at - Date.now();
  if (Math.abs(at - now.peek()) >= 1000) now.value = at;
}

/** Advance the clock while the connection is live. */
export function startClock() {
  effect(() => {
    if (link.value !== 'live') return undefined;
    const timer = setInterval(() => {
      if (!document.hidden) now.value = Date.now() + clockOffset;
    }, 1000);
    return () => clearInterval(timer);
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && link.peek() === 'live') now.value = Date.now() + clockOffset;
  });
}
