// The list of keyboard shortcuts, and the switch that disables them.
import { h } from '../core/dom.js';
import { shortcutsAreOn, switchShortcuts } from '../core/shortcuts.js';
import { drawer } from '../components/dialog.js';
import { t } from '../i18n/index.js';

const MAP = /** @type {const} */ ([
  ['/', 'search'], ['g o', 'overview'], ['g j', 'jobs'], ['g r', 'runs'], ['g a', 'alerts'], ['g f', 'forecast'], ['g h', 'activity'], ['g s', 'system'],
  ['j', 'down'], ['k', 'up'], ['Enter', 'open'], ['x', 'select'], ['t', 'trigger'], ['p', 'pause'], ['c', 'cancel'], ['.', 'actions'], ['[', 'earlier'], [']', 'later'],
  ['d', 'theme'], ['?', 'help'],
]);

export const helpDrawer = () =>
  drawer(t('keys'), h('div', { class: 'help' }, [
    h('dl', { class: 'keys' }, MAP.map(([keys, what]) => h('div', null, h('dt', null, keys.split(' ').map((key) => h('kbd', null, key))), h('dd', null, t(`keys.${what}`))))),
    h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: () => shortcutsAreOn.value, onchange: (/** @type {any} */ event) => switchShortcuts(event.target.checked) }), h('span', null, t('keys.on'), h('small', null, t('keys.on.hint')))),
  ]), 'keys');
