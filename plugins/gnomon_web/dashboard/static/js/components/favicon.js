// The icon of the tab: with the number of alerts that want attention, in the colour of the worst of them.
import { effect } from '../core/signals.js';
import { firingCount, isBad } from '../model/alert_lists.js';

const COLOURS = { bad: ['#c4162a', '#ffffff'], warn: ['#f2b33d', '#17191c'] };

/** @param {number} count @param {'bad' | 'warn'} level */
function drawn(count, level) {
  const [ground, ink] = COLOURS[level];
  const text = count > 99 ? '99+' : String(count);
  const dial = '<circle cx="12" cy="12" r="11" fill="#1d232b"/><path d="M12 12 5.2 19.4 9 21.6z" fill="#55606e"/>';
  const mark = `<circle cx="14" cy="10" r="10" fill="${ground}"/><text x="14" y="14.6" font-family="sans-serif" font-weight="700" font-size="${[15, 13, 12, 9][text.length]}" text-anchor="middle" fill="${ink}">${text}</text>`;
  return `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">${dial}${mark}</svg>`)}`;
}

export function startFavicon() {
  const link = /** @type {HTMLLinkElement} */ (document.querySelector('link[rel=icon]'));
  const plain = link.href;
  effect(() => void (link.href = firingCount.value > 0 ? drawn(firingCount.value, isBad.value ? 'bad' : 'warn') : plain));
}
