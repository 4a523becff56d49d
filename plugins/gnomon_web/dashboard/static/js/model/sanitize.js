// Text written by jobs is untrusted: control characters are removed, bidirectional controls and spaces of no width are made visible.

const ESCAPES = /\u001b\[[0-9;?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[@-_]/g;
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
const UNSEEN = /[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** @param {unknown} text */
export const clean = (text) =>
  String(text ?? '')
    .replace(ESCAPES, '')
    .replace(CONTROL, '')
    .replace(UNSEEN, (character) => `‹U+${character.charCodeAt(0).toString(16).toUpperCase()}›`);
