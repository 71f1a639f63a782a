// What somebody writes about a picture: counted as they write, kept in this tab, also for an approval that is taken back, and not let go unwritten.

import { ask } from "./desk.js";

const WAIT_MS = 180;
const WRITTEN = ["title", "alt", "caption", "hashtags", "warning", "language"];
let timer = 0;

const keptAs = (card) => `words ${card.dataset.id} ${card.dataset.sha}`;

/** Of a card that has come into sight. */
export function prepareWords(card) {
  const form = card.querySelector("#words");
  form.checkedAlt = form.alt.value;
  form.remark = card.dataset.altRemark;
  form.wasAsked = false;
  const kept = JSON.parse(sessionStorage.getItem(keptAs(card)) ?? "null");
  if (kept && !form.alt.readOnly) {
    for (const name of WRITTEN) if (name in kept) form[name].value = kept[name];
    check(card);
  }
  form.addEventListener("input", () => {
    const now = Object.fromEntries(WRITTEN.map((name) => [name, form[name].value]));
    sessionStorage.setItem(keptAs(card), JSON.stringify(now));
    form.wasAsked = false;
    clearTimeout(timer);
    timer = setTimeout(() => check(card), WAIT_MS);
  });
}

/** To be sent with an approval. */
export const wordsOf = (card) => [...new FormData(card.querySelector("#words"))].filter(
  ([name]) => !["csrf", "image_sha256", "row_version", "return_to", "draft_is_fine"].includes(name),
);

/** Whether it wants an alt text first: then it is asked for, once. */
export function wantsAlt(card) {
  const form = card.querySelector("#words");
  if (!form.remark || form.alt.value !== form.checkedAlt || form.wasAsked) return false;
  askForAlt(card);
  return true;
}

export const isDraftFine = (card) => card.querySelector("#words").wasAsked;

export function askForAlt(card, words) {
  const form = card.querySelector("#words"), remark = card.querySelector("#alt-words");
  const why = words || remark.dataset.words || remark.textContent;
  remark.dataset.words = why;
  const otherwise = form.alt.value.trim() ? "; or approve once more to take it as it is" : "";
  remark.textContent = `${why} Write it here, Enter approves${otherwise}.`;
  remark.hidden = false;
  form.wasAsked = true;
  form.alt.focus();
  form.alt.select();
}

async function check(card) {
  const form = card.querySelector("#words"), alt = form.alt.value;
  const body = new URLSearchParams([["csrf", document.body.dataset.csrf], ...wordsOf(card)]);
  const response = await ask(`/works/${card.dataset.id}/check`, { method: "POST", body, headers: { Accept: "application/json" } });
  const said = response && await response.json().catch(() => null);
  if (!said || form.alt.value !== alt) return;
  const remark = card.querySelector("#alt-words");
  if (said.error) {
    remark.textContent = said.error;
    remark.hidden = false;
    return;
  }
  form.checkedAlt = alt;
  form.remark = said.alt ?? "";
  remark.dataset.words = remark.textContent = said.alt_words;
  remark.hidden = !said.alt_words;
  card.querySelector("#fits").replaceChildren(...said.fits.filter((fit) => fit.counts.length || fit.refusal).map(line));
}

function line(fit) {
  const item = document.createElement("li");
  item.classList.toggle("refused", Boolean(fit.refusal));
  const part = (tag, words, name = "") => Object.assign(document.createElement(tag), { textContent: words, className: name });
  item.append(part("b", fit.channel), " ");
  for (const count of fit.counts) {
    item.append(part("span", `${count.what} ${count.has} of ${count.most} ${count.unit}`.trim(), count.has > count.most ? "over" : ""), " ");
  }
  if (fit.refusal) item.append(part("em", fit.refusal));
  return item;
}
