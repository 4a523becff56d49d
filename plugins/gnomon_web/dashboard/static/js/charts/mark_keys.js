// The keyboard in charts: each chart is one tab stop, and the arrow keys move from mark to mark.

/** The address of the mark that has the focus: charts are drawn again beneath it. */
let focusedMark = '';

/** @param {SVGElement} chart whose marks are links with a rect @returns {SVGElement} the chart */
export function withKeys(chart) {
  const lanes = [...chart.querySelectorAll('g, svg')];
  const placed = [...chart.querySelectorAll('a')].map((mark) => ({ mark, lane: lanes.indexOf(/** @type {Element} */ (mark.parentNode)), x: Number(mark.querySelector('rect')?.getAttribute('x')) }));
  placed.sort((a, b) => a.lane - b.lane || a.x - b.x);
  const marks = placed.map(({ mark }) => mark);
  const known = marks.find((mark) => mark.getAttribute('href') === focusedMark);
  const first = known ?? marks.at(-1); // the newest one
  for (const mark of marks) mark.setAttribute('tabindex', mark === first ? '0' : '-1');
  if (known && (document.activeElement === document.body || document.activeElement?.closest('svg'))) queueMicrotask(() => known.focus({ preventScroll: true }));
  chart.addEventListener('focusin', (event) => {
    const mark = /** @type {Element} */ (event.target);
    for (const one of marks) one.setAttribute('tabindex', one === mark ? '0' : '-1');
    focusedMark = mark.getAttribute('href') ?? '';
  });
  chart.addEventListener('focusout', () => queueMicrotask(() => {
    if (chart.isConnected && !chart.contains(document.activeElement)) focusedMark = '';
  }));
  chart.addEventListener('keydown', (event) => {
    const at = marks.indexOf(/** @type {any} */ (event.target));
    const next = at < 0 ? null : target(placed, at, event.key);
    if (next === null) return;
    event.preventDefault();
    next.focus({ preventScroll: false });
  });
  return chart;
}

/** @param {{ mark: any, lane: number, x: number }[]} placed @param {number} at @param {string} key @returns {any} */
function target(placed, at, key) {
  const { lane, x } = placed[at];
  const own = placed.filter((one) => one.lane === lane);
  if (key === 'ArrowRight') return placed[at + 1]?.mark ?? null;
  if (key === 'ArrowLeft') return placed[at - 1]?.mark ?? null;
  if (key === 'Home') return own[0].mark;
  if (key === 'End') return own[own.length - 1].mark;
  const others = placed.filter((one) => (key === 'ArrowDown' ? one.lane > lane : key === 'ArrowUp' && one.lane < lane));
  if (others.length === 0) return null;
  const next = key === 'ArrowDown' ? others[0].lane : others[others.length - 1].lane;
  return others.filter((one) => one.lane === next).reduce((best, one) => (Math.abs(one.x - x) < Math.abs(best.x - x) ? one : best)).mark;
}
