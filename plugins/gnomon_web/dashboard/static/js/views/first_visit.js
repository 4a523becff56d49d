// The page without jobs: the next step, ready to copy.
import { h } from '../core/dom.js';
import { copyButton } from '../components/common.js';
import { logo } from '../components/icons.js';
import { t } from '../i18n/index.js';

const CONFIG = `[[jobs]]
id = "disk_usage"
func = "gnomon_chores:shell"
every = "10s"
kwargs = { argv = ["df", "-h", "."] }`;

const PYTHON = `from gnomon import Context, job

@job(every="10s")
def hello(ctx: Context) -> None:
    for name in ctx.track(["sun", "shadow", "hour"]):
        print("hello", name)`;

export const firstVisit = () =>
  h('div', { class: 'first' }, [
    logo(),
    h('h1', { tabindex: -1 }, t('first.title')),
    h('p', null, t('first.text')),
    example(t('first.config'), CONFIG),
    example(t('first.python'), PYTHON),
    h('p', { class: 'hint' }, t('first.reload'), ' ', h('code', null, 'gnomon reload')),
  ]);

/** @param {string} text @param {string} code */
const example = (text, code) =>
  h('section', { class: 'panel example', 'aria-label': text }, h('header', null, h('h2', null, text), copyButton(() => code, `${t('copy')}: ${text}`)), h('pre', { tabindex: 0 }, code));
