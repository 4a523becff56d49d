// Text written by jobs is untrusted: control characters are removed, bidirectional controls are made visible.

const ESCAPES = /\u001b\[[0-9;?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[@-_]/g;
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
const BIDI = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** @param {unknown} text */
export const clean = (text) =>
  String(text ?? '')
    .replace(ESCAPES, '')
    .replace(CONTROL, '')
    .replace(BIDI, (character) => `‹U+${character.charCodeAt(0).toString(16).toUpperCase()}›`);
