// Copies the address of the page: with its rolling moments, or with those that they stand for now.
import { h } from '../core/dom.js';
import { address, route } from '../core/router.js';
import { fixed, isRollingQuery } from '../model/ranges.js';
import { t } from '../i18n/index.js';
import { copyText } from './common.js';
import { menu } from './dialog.js';
import { icon } from './icons.js';
import { toast } from './toasts.js';

/** A button that copies a link to what the page shows. */
export const copyLink = () => h('button', { class: 'quiet', type: 'button', onclick: chooseLink }, icon('copy'), t('link.copy'));

function chooseLink() {
  const { query } = route.peek();
  if (!isRollingQuery(query)) return copyAddress(query);
  return menu(t('link.copy'), [
    { key: 'r', text: t('link.rolling'), act: () => copyAddress(query) },
    { key: 'f', text: t('link.fixed'), act: () => copyAddress(fixed(query)) },
  ], '');
}

/** @param {Record<string, string>} query */
async function copyAddress(query) {
  await copyText(location.origin + address(route.peek().path, query));
  toast(t('link.copied'));
}
