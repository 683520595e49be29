// Words and figures, as the page writes them.

const integers = new Intl.NumberFormat("en");

export const count = (value) => integers.format(value);

/** "1 photo", "2 photos". */
export const several = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

export function percent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)} %`;
}

/** Seconds since 1970 as "2026-11-27 20:09 UTC". */
export function time(seconds) {
  return `${new Date(1000 * seconds).toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

export const labelled = (label) => label || "(no label)";

/** The last part of a key. */
export const file = (key) => key.slice(key.lastIndexOf("/") + 1) || key;
