// Build elements with functions. No HTML text is parsed anywhere, so there is nothing to escape and nothing to inject.
import { effect, onDispose, scope } from './signals.js';

const SVG = 'http://www.w3.org/2000/svg';

/**
 * Create an HTML element. A function as a property or a child is re-evaluated whenever a signal that it read changes.
 * @param {string} tag @param {Record<string, any> | null} [props] @param {...any} children @returns {any}
 */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/** Create an SVG element. @param {string} tag @param {Record<string, any> | null} [props] @param {...any} children @returns {any} */
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

/** @param {Element} element @param {Record<string, any> | null | undefined} props @param {any[]} children */
function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'ref') value(element);
    else if (typeof value === 'function') effect(() => set(element, name, value()));
    else set(element, name, value);
  }
  append(element, children);
  return element;
}

/** @param {any} element @param {string} name @param {any} value */
function set(element, name, value) {
  if (name === 'vars') {
    // Through the CSSOM: the content security policy rejects style attributes.
    for (const [key, one] of Object.entries(value)) element.style.setProperty(`--${key}`, String(one));
  } else if (name === 'value' || name === 'checked' || name === 'selected' || name === 'disabled' || name === 'open') {
    // An empty option without the attribute has its text as its value.
    if (element[name] !== value || element.tagName === 'OPTION') element[name] = value;
  } else if (value === null || value === undefined || value === false) {
    element.removeAttribute(name);
  } else {
    const text = value === true ? '' : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** @param {Element} element @param {any[]} children */
function append(element, children) {
  for (const child of children.flat(4)) {
    if (typeof child === 'function') bindChild(element, child);
    else if (isShown(child)) element.append(child instanceof Node ? child : String(child));
  }
}

/** @param {any} value */
const isShown = (value) => value !== null && value !== undefined && value !== false;

/** Evaluate a child: nested functions are called, so components compose freely. @param {any} value @returns {any[]} */
function resolve(value) {
  if (Array.isArray(value)) return value.flatMap(resolve);
  return typeof value === 'function' ? resolve(value()) : [value];
}

/** Render a child that changes at its position; a text that remains a text is updated in place. @param {Element} element @param {() => any} read */
function bindChild(element, read) {
  const end = document.createTextNode('');
  element.append(end);
  /** @type {Node[]} */
  let shown = [];
  effect(() => {
    const next = resolve(read()).filter(isShown);
    const [first] = shown;
    if (next.length === 1 && shown.length === 1 && first instanceof Text && !(next[0] instanceof Node)) {
      if (first.data !== String(next[0])) first.data = String(next[0]);
      return;
    }
    const nodes = next.map((one) => (one instanceof Node ? one : document.createTextNode(String(one))));
    for (const node of shown) node.parentNode?.removeChild(node);
    end.before(...nodes);
    shown = nodes;
  });
}

/**
 * Keep one element for each key, in the order of the keys. Rows are moved, never rebuilt, so the focus, a selection
 * and an open menu survive.
 * @template {Element} E @param {E} parent @param {() => string[]} keys @param {(key: string) => Element} make @returns {E}
 */
export function each(parent, keys, make) {
  /** @type {Map<string, { element: Element, dispose: () => void }>} */
  const rows = new Map();
  onDispose(() => {
    for (const row of rows.values()) row.dispose();
  });
  effect(() => {
    const wanted = new Set(keys());
    for (const [key, row] of rows) {
      if (wanted.has(key)) continue;
      row.dispose();
      row.element.remove();
      rows.delete(key);
    }
    let place = parent.firstElementChild;
    for (const key of wanted) {
      const row = rows.get(key) ?? add(key);
      if (row.element === place) place = place.nextElementSibling;
      else move(parent, row.element, place);
    }
  });
  return parent;

  /** @param {string} key */
  function add(key) {
    const [element, dispose] = scope(() => make(key));
    const row = { element, dispose };
    rows.set(key, row);
    return row;
  }
}

/** @param {any} parent @param {Element} element @param {Element | null} before */
function move(parent, element, before) {
  // moveBefore keeps the focus and running animations; in browsers without it the focus is restored.
  if (element.isConnected && parent.moveBefore) return parent.moveBefore(element, before);
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  parent.insertBefore(element, before);
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
}
