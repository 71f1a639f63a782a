// Side by side, looked at through one view; and the final in which the winner stays. Who loses is put off until later.

import { isUndecided, leave, onChange, read, send, tiles } from "./desk.js";
import { onKeys } from "./keys.js";
import { lookAt, moveBy, resetView, togglePixels, zoomBy } from "./look.js";
import { calm, capital, say, sayThen, warn } from "./say.js";

const main = document.querySelector("main");
const isFinal = "finals" in main.dataset;
const panes = [...main.querySelectorAll(".pane")];
const idOf = (pane) => Number(pane.dataset.id);
const paneOf = (id) => panes.find((pane) => idOf(pane) === id);
const SIGNS = { approved: "✓", rejected: "✕", later: "◷" };
const mine = [];  // what to undo: ids, and how the final stood before
let undone = [];

let current = panes[0];
let duel = { left: panes[0], right: panes[1], waiting: panes.slice(2), kept: [], lost: [] };

onChange((tile) => {
  const pane = paneOf(tile.id);
  if (!pane) return;
  Object.assign(pane.dataset, { state: tile.state, stars: tile.stars, version: tile.version });
  pane.classList.toggle("decided", !isUndecided(tile));
  const state = pane.querySelector(".state"), stars = pane.querySelector(".stars");
  state.className = `state ${tile.state}`;
  state.replaceChildren(Object.assign(document.createElement("span"), { textContent: SIGNS[tile.state] ?? "", ariaHidden: "true" }), ` ${tile.state}`);
  stars.hidden = !tile.stars;
  stars.firstElementChild.textContent = "★".repeat(tile.stars);
  stars.lastElementChild.textContent = tile.stars === 1 ? "1 star" : `${tile.stars} stars`;
});

function select(pane, isFocused = true) {
  current?.classList.remove("selected");
  current = pane;
  current.classList.add("selected");
  if (isFocused) current.querySelector(".frame").focus({ preventScroll: true });
}

const shown = () => panes.filter((pane) => pane.offsetParent);
const step = (by) => { const there = shown(), pane = there[there.indexOf(current) + by]; if (pane) select(pane); };

function act(path, pane, { fields = [], change } = {}, before = null) {
  const id = idOf(pane), entry = { id, before };
  calm();
  mine.push(entry);
  undone = [];
  pane.querySelector(".reason").hidden = true;
  return send(`/works/${id}/${path}`, { id, fields, change }).then((answer) => {
    if (answer.ok || answer.isLeftOut) return;
    mine.splice(mine.indexOf(entry), 1);
    const reason = pane.querySelector(".reason");
    reason.textContent = capital(answer.data.error);
    reason.hidden = false;
    if (answer.data.kind === "alt-text") write(id);
    else warn(`${id}: ${answer.data.error}`);
  });
}

const write = (id) => leave(`/works/${id}?show=undecided#write`);

function decide(verb) {
  const id = idOf(current);
  if (verb === "approve" && current.dataset.altRemark) return void write(id);
  if (!isUndecided(tiles.get(id))) return say(`${id} is ${tiles.get(id).state} already; undo takes that back.`);
  const state = { approve: "approved", reject: "rejected", later: "later" }[verb];
  say(`${id} ${state === "later" ? "put off until later" : state}.`, "Undo", undo);
  act(verb, current, { change: { state } });
  const next = shown().find((pane) => pane !== current && isUndecided(tiles.get(idOf(pane))));
  if (next) select(next);
  return undefined;
}

function star(stars) {
  act("stars", current, { fields: [["stars", stars]], change: { stars } });
  say(`${idOf(current)}: ${stars === 1 ? "1 star" : `${stars || "no"} stars`}`);
}

async function undo() {
  const entry = mine.pop();
  calm();
  if (entry?.before) {
    duel = entry.before;
    showDuel();
    if (!entry.id) return say("Back a step.");
  }
  const tell = sayThen();
  const answer = await send(entry ? `/works/${entry.id}/undo` : "/undo", { id: entry?.id });
  if (!answer.ok) return warn(answer.data.error);
  if (!entry?.before) undone.push(entry?.id ?? answer.data.tile.id);
  return tell(answer.data.message);
}

async function redo() {
  const id = undone.pop(), tell = sayThen();
  const answer = await send(id ? `/works/${id}/redo` : "/redo", { id });
  if (!answer.ok) return warn(answer.data.error);
  mine.push({ id: answer.data.tile.id, before: null });
  return tell(answer.data.message);
}

async function paintMore(path, fields) {
  const tell = sayThen(), answer = await send(path, { fields });
  return answer.ok ? tell(answer.data.message) : warn(answer.data.error);
}
const vary = (strength) => paintMore(`/works/${idOf(current)}/vary`, [["strength", strength]]);
const breed = () => (panes.length === 2 ? paintMore("/breed", panes.map((pane) => ["id", idOf(pane)])) : say("Two can be bred; these are more."));

/* ---- the final ---- */

function judge(winner) {
  if (!duel.left || !duel.right) return;
  const { left, right, waiting, kept, lost } = duel, before = duel;
  const [next, ...rest] = waiting;
  const loser = { left: right, right: left }[winner];
  duel = winner === "left" ? { left, right: next, waiting: rest, kept, lost: [...lost, right] }
    : winner === "right" ? { left: next, right, waiting: rest, kept, lost: [...lost, left] }
      : { left, right: next, waiting: rest, kept: [...kept, right], lost };
  showDuel();
  if (!loser) {
    mine.push({ before });
    say(`Both are kept. ${told()}`, "Undo", undo);
  } else if (tiles.get(idOf(loser)).state === "pending") {
    say(`${idOf(loser)} is put off until later. ${told()}`, "Undo", undo);
    act("later", loser, { change: { state: "later" } }, before);
  } else {
    mine.push({ before });
    say(`${idOf(loser)} stays ${tiles.get(idOf(loser)).state}. ${told()}`, "Undo", undo);
  }
}

const told = () => (duel.waiting.length ? `${duel.waiting.length} to come.` : duel.left && duel.right ? "This is the last pair." : "That was the last.");

function showDuel() {
  resetView();
  const isOver = !duel.left || !duel.right, list = main.querySelector("#panes");
  for (const pane of panes) pane.toggleAttribute("data-waits", pane !== duel.left && pane !== duel.right);
  list.hidden = isOver;
  main.querySelector("#duel").hidden = isOver;
  for (const side of [duel.left, duel.right]) if (side) list.append(side);
  main.querySelector("#winners").hidden = !isOver;
  if (!isOver) {
    select(duel.left);
    lookAt(main);
    const next = duel.waiting[0]?.querySelector("img.work");
    if (next) next.decode().catch(() => undefined);
    return;
  }
  main.querySelector("#won").replaceChildren(...[duel.left ?? duel.right, ...duel.kept].map((pane) => {
    const item = document.createElement("li"), link = document.createElement("a"), mat = document.createElement("span");
    const image = Object.assign(new Image(), { src: pane.querySelector("img.work").src, alt: "" });
    link.href = `/works/${idOf(pane)}?show=undecided`;
    mat.className = "mat";
    mat.append(image);
    link.append(mat, `${idOf(pane)}`);
    item.append(link);
    return item;
  }));
  main.querySelector("#winners-title").focus();
}

onKeys({
  approve: () => decide("approve"),
  reject: () => decide("reject"),
  later: () => decide("later"),
  undo,
  redo,
  breed,
  "vary-subtle": () => vary("subtle"),
  "vary-strong": () => vary("strong"),
  words: () => write(idOf(current)),
  next: () => (isFinal ? judge("right") : step(1)),
  previous: () => (isFinal ? judge("left") : step(-1)),
  down: () => (isFinal ? judge("both") : step(2)),
  up: () => step(-2),
  ...Object.fromEntries([0, 1, 2, 3, 4, 5].map((stars) => [`star${stars}`, () => star(stars)])),
  zoom: () => say(togglePixels() ? "Every pixel as it is." : "The whole pictures."),
  sheet: () => leave("/"),
  loupe: () => leave(`/works/${idOf(current)}?show=all`),
  help: () => leave("/help"),
  quit: () => leave("/"),
  "key escape": () => leave("/"),
  "key +": () => zoomBy(1.4),
  "key -": () => zoomBy(1 / 1.4),
});
document.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [0.08, 0], ArrowRight: [-0.08, 0], ArrowUp: [0, 0.08], ArrowDown: [0, -0.08] };
  if (event.shiftKey && event.key in moves) { event.preventDefault(); moveBy(...moves[event.key]); }
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.duel) judge(button.dataset.duel);
  else if (button?.dataset.act === "zoom") togglePixels();
});
document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-acts]");
  if (!form) return;
  event.preventDefault();
  const verb = event.submitter.getAttribute("formaction").split("/").pop();
  if (verb === "undo") return void undo();
  select(form.closest(".pane"), false);
  decide(verb);
});
document.addEventListener("focusin", (event) => {
  const pane = event.target.closest(".pane");
  if (pane && pane !== current) select(pane, false);
});

read(main);
if (isFinal) showDuel();
else { select(panes[0]); lookAt(main); }
