// Icons on a grid of 16. They only accompany text, so screen readers skip them.
import { s } from '../core/dom.js';

const PATHS = {
  scheduled: 'M8 4.6V8l2.2 1.4M13.5 8a5.5 5.5 0 1 1-11 0 5.5 5.5 0 0 1 11 0z',
  running: 'M5.5 3.7v8.6L12.3 8z',
  success: 'M3.2 8.6l3.2 3.2 6.4-7.4',
  failed: 'M4.3 4.3l7.4 7.4m0-7.4l-7.4 7.4',
  missed: 'M8 3v6.4M8 12.6v.1',
  cancelled: 'M3.8 8h8.4',
  paused: 'M5.6 4v8m4.8-8v8',
  active: 'M8 6.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3z',
  play: 'M5.5 3.7v8.6L12.3 8z',
  resume: 'M3.6 4v8M6.6 3.9v8.2L12.8 8z',
  stop: 'M4.6 4.6h6.8v6.8H4.6z',
  edit: 'M3 13l.6-2.8 7-7a1.2 1.2 0 0 1 1.7 0l.5.5a1.2 1.2 0 0 1 0 1.7l-7 7z',
  copy: 'M5.5 5.5v-3h8v8h-3m-8-5h8v8h-8z',
  back: 'M9.8 3.5L5.3 8l4.5 4.5',
  forth: 'M6.2 3.5L10.7 8l-4.5 4.5',
  close: 'M4 4l8 8m0-8l-8 8',
  search: 'M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zm3.3 7.8l3.2 3.2',
  overview: 'M2.5 12.5l3.4-4.2 2.6 2.4 5-6.7',
  jobs: 'M5.5 4h8m-8 4h8m-8 4h8M2.4 4h.2m-.2 4h.2m-.2 4h.2',
  runs: 'M2.5 4.5h6m-3 3.5h8m-6 3.5h4',
  forecast: 'M13.2 6.2A5.5 5.5 0 1 0 13.5 8M13.4 2.6v3.6H9.8M8 5v3.2l2.2 1.4',
  activity: 'M8 8.2A2.6 2.6 0 1 0 8 3a2.6 2.6 0 0 0 0 5.2zM3 13.4a5 5 0 0 1 10 0',
  alerts: 'M8 2.4l6 10.8H2zM8 6.6v3M8 11.4v.1',
  system: 'M2.5 3.5h11v4h-11zm0 5h11v4h-11zm2.4-3h.1m-.1 5h.1',
  sun: 'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1.5v1.2m0 10.6v1.2M1.5 8h1.2m10.6 0h1.2M3.4 3.4l.9.9m7.4 7.4l.9.9m0-9.2l-.9.9m-7.4 7.4l-.9.9',
  keys: 'M1.8 4.5h12.4v7H1.8zM4.4 7h.1m2.3 0h.1m2.3 0h.1m2.3 0h.1M5.5 9.4h5',
  down: 'M8 3v9.6m-4-4l4 4 4-4',
  rewind: 'M3 3.5V7h3.6M3.4 6.6a5.2 5.2 0 1 1-.6 3',
  more: 'M4 6.2L8 10l4-3.8',
};

/** @param {keyof typeof PATHS | string} name */
export const icon = (name) =>
  s('svg', { class: `icon icon-${name}`, viewBox: '0 0 16 16', width: 16, height: 16, 'aria-hidden': 'true' }, s('path', { d: PATHS[/** @type {keyof typeof PATHS} */ (name)] }));

/** A sundial seen from above, with the shadow of its gnomon. */
export const logo = () =>
  s('svg', { class: 'logo', viewBox: '0 0 24 24', width: 24, height: 24, 'aria-hidden': 'true' }, [
    s('circle', { class: 'dial', cx: 12, cy: 12, r: 10.5 }),
    s('path', { class: 'shadow', d: 'M12 12L5.2 19.4 9 21.6z' }),
    s('path', { class: 'hours', d: 'M12 3.2v2M20.8 12h-2M3.2 12h2M18.2 5.8l-1.3 1.3M5.8 5.8l1.3 1.3' }),
    s('circle', { class: 'style', cx: 12, cy: 12, r: 2.4 }),
  ]);
