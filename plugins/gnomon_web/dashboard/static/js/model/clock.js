// The server's time, as the page knows it. It stands still while the connection is lost: a timer that goes on would claim
// to know that the run goes on too.
import { effect, signal } from '../core/signals.js';
import { link } from './link.js';

export const DAY = 86_400_000;

let ahead = 0; // milliseconds that the server's clock is ahead of ours

/** Milliseconds since 1970 on the server's clock; it moves once a second. */
export const now = signal(Date.now());

/** Learn the server's time from what it just said. Ten times a second it may: the clock goes on once. @param {string} iso */
export function hear(iso) {
  const heard = Date.parse(iso);
  ahead = heard - Date.now();
  if (Math.abs(heard - now.peek()) >= 1000) now.value = heard;
}

/** Let the time go on while the connection is live. */
export function startClock() {
  effect(() => {
    if (link.value !== 'live') return undefined;
    const timer = setInterval(() => {
      if (!document.hidden) now.value = Date.now() + ahead;
    }, 1000);
    return () => clearInterval(timer);
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && link.peek() === 'live') now.value = Date.now() + ahead;
  });
}
