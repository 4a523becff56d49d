// The login: exchange a token for a cookie that scripts cannot read.
import { h } from '../core/dom.js';
import { signal } from '../core/signals.js';
import { Problem } from '../model/api.js';
import { logIn, signIn } from '../model/session.js';
import { icon, logo } from '../components/icons.js';
import { t } from '../i18n/index.js';

export function loginView() {
  const problem = signal('');
  const busy = signal(false);
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    busy.value = true;
    problem.value = '';
    try {
      await logIn(String(new FormData(form).get('token')).trim());
    } catch (error) {
      problem.value = messageOf(/** @type {Error} */ (error));
      form.token.select();
    } finally {
      busy.value = false;
    }
  };
  return h('div', { class: 'login' }, [
    h('form', { class: 'panel', onsubmit: submit }, [
      logo(),
      h('h1', { tabindex: -1 }, t('login.title')),
      h('p', null, t('login.text')),
      h('label', { class: 'field' }, h('span', null, t('login.token')), h('input', { type: 'password', name: 'token', required: true, autocomplete: 'current-password', 'aria-describedby': 'login-problem' })),
      h('p', { class: 'problem', id: 'login-problem', role: 'alert' }, () => problem.value && [icon('failed'), problem.value]),
      h('button', { class: 'primary', type: 'submit', disabled: () => busy.value }, t('login.do')),
      () => signIn.value && h('button', { type: 'button', onclick: goToProvider }, t('login.with', { name: signIn.value.name })),
    ]),
  ]);
}

/** Leave for the provider, which sends the browser back to this page. */
function goToProvider() {
  location.assign(`${signIn.value?.url}?page=${encodeURIComponent(location.pathname)}`);
}

/** @param {Error} error */
function messageOf(error) {
  if (!(error instanceof Problem)) return error.message;
  if (error.status === 401) return t('login.wrong');
  if (error.status === 429) return t('login.slow');
  return error.status === 0 ? t('login.unreachable') : error.message;
}
