// Choosing: the sheet and the loupe, which take each other's place without a new page. A key shows what comes next
// at once; what was decided is sent behind it, and comes back with the reason if it is refused.

import { ask, fromServer, isBusy, isUndecided, know, leave, onChange, pictureOf, read, send, settled, tiles } from "./desk.js";
import { isWriting, onKeys } from "./keys.js";
import { lookAt, moveBy, resetView, togglePixels, zoomBy } from "./look.js";
import { calm, capital, say, sayThen, warn } from "./say.js";
import { askForAlt, isDraftFine, prepareWords, wantsAlt, wordsOf } from "./words.js";

const LOOK_AGAIN_MS = 5000;
const AHEAD = 2;
const AROUND = 6;  // in the strip, on either side
const DONE = { approve: "approved", reject: "rejected", later: "later" };
const TOLD = { approved: "approved", rejected: "rejected", later: "put off until later" };

let main = document.querySelector("main");
let order = [];
let current = null;
let mine = [];  // what was decided here, to be undone: lists of ids
let undone = [];
let numActs = 0;
let isBackToSheet = false;
let tag = "";  // of the sheet as it was last asked for
const other = { sheet: null, card: null };  // the main that is out of sight, and how far it was scrolled
const ready = new Map();  // cards fetched ahead
const marks = new Set(JSON.parse(sessionStorage.getItem("marks") ?? "[]"));
const putOff = new Set();

const isSheet = () => main.dataset.page === "sheet";
const card = () => main.querySelector("#card");
const query = () => `?${new URLSearchParams({ show: main.dataset.show, ...(main.dataset.batch && { batch: main.dataset.batch }) })}`;
const tileOf = (id) => document.getElementById(`tile-${id}`) ?? other.sheet?.main.querySelector(`#tile-${id}`);
const addressOf = (id) => `/works/${id}${query()}`;
const numLeft = () => order.filter((id) => isUndecided(tiles.get(id)) && !putOff.has(id)).length;

/* ---- showing what a picture is ---- */

const SIGNS = { approved: "✓", rejected: "✕", later: "◷", expired: "⌛", quarantined: "!" };

function paint(tile) {
  const places = [...document.querySelectorAll(`[data-id="${tile.id}"]`), ...(other.sheet?.main.querySelectorAll(`[data-id="${tile.id}"]`) ?? [])];
  for (const place of places) {
    Object.assign(place.dataset, { state: tile.state, stars: tile.stars, version: tile.version });
    place.classList.toggle("decided", !isUndecided(tile));
    const state = place.querySelector(".state"), stars = place.querySelector(".stars");
    if (state) {
      state.className = `state ${tile.state}`;
      state.replaceChildren(Object.assign(document.createElement("span"), { textContent: SIGNS[tile.state] ?? "", ariaHidden: "true" }), ` ${tile.state}`);
    }
    if (stars) {
      stars.hidden = !tile.stars;
      stars.firstElementChild.textContent = "★".repeat(tile.stars);
      stars.lastElementChild.textContent = tile.stars === 1 ? "1 star" : `${tile.stars} stars`;
    }
    for (const button of place.querySelectorAll(".rate [name=stars]")) {
      if (button.value > 0) button.ariaPressed = String(button.value <= tile.stars);
      else button.hidden = !tile.stars;
    }
    for (const field of place.querySelectorAll("[name=row_version]")) field.value = tile.version;
    const marked = place.querySelector(".marked");
    if (marked) marked.hidden = !marks.has(tile.id);
    const toMark = place.querySelector("[data-act=mark]");
    if (toMark) toMark.ariaPressed = String(marks.has(tile.id));
    if (isUndecided(tile) && place.id === "card") place.querySelectorAll("#words [readonly]").forEach((field) => { field.readOnly = false; });
  }
  paintStrip();
}

onChange((now, known) => {
  if (known && known.state !== now.state) count(known.state, now.state);
  if (order.length) paint(now);
});

function count(was, now) {
  const roots = [document, other.sheet?.main].filter(Boolean);
  const add = (show, more) => roots.forEach((root) => root.querySelectorAll(`[data-count="${show}"]`).forEach((place) => { place.textContent = Math.max(0, Number(place.textContent) + more); }));
  const shows = (state) => [state, ...(state === "pending" || state === "later" ? ["undecided"] : [])];
  for (const show of shows(was)) add(show, -1);
  for (const show of shows(now)) add(show, 1);
}

function explain(id, words) {
  for (const place of [tileOf(id), card()]) {
    const reason = place && Number(place.dataset.id) === id && place.querySelector(".reason");
    if (!reason) continue;
    reason.textContent = capital(words);
    reason.hidden = !words;
  }
}

/* ---- moving ---- */

function select(id, { focus = true } = {}) {
  if (id === undefined || id === null) return;
  if (!isSheet()) return void show(id);
  main.querySelector(".tile.selected")?.classList.remove("selected");
  current = id;
  const tile = tileOf(id);
  if (!tile) return;
  const folded = tile.closest(".alike:not([open])");
  if (folded) folded.open = true;
  tile.classList.add("selected");
  if (focus) tile.querySelector(".open").focus({ preventScroll: true });
  tile.scrollIntoView({ block: "nearest" });
}

function nextUndecided(from) {
  const at = order.indexOf(from);
  const isOpen = (id) => isUndecided(tiles.get(id)) && !putOff.has(id);
  return order.slice(at + 1).find(isOpen) ?? order.slice(0, Math.max(0, at)).find(isOpen);
}

const isFolded = (id) => isSheet() && Boolean(tileOf(id)?.closest(".alike:not([open])"));

function step(by) {
  let at = order.indexOf(current);
  do at += by; while (order[at] !== undefined && isFolded(order[at]));
  if (order[at] !== undefined) select(order[at]);
}

function row(by) {
  if (!isSheet()) return step(by);
  const here = tileOf(current)?.getBoundingClientRect();
  if (!here) return select(order[0]);
  const middle = (box) => box.left + box.width / 2;
  let best = null;
  for (const id of order) {
    if (isFolded(id)) continue;
    const box = tileOf(id).getBoundingClientRect();
    const down = (box.top - here.top) * by;
    if (down < here.height / 2) continue;
    const far = down * 4 + Math.abs(middle(box) - middle(here));
    if (!best || far < best.far) best = { id, far };
  }
  if (best) select(best.id);
}

/* ---- deciding ---- */

function decide(verb) {
  const id = current, tile = tiles.get(id);
  calm();
  if (!tile) return;
  if (!isUndecided(tile)) return warn(`${id} is ${tile.state} already.`, "Take that back", () => undoOne(id));
  const image = isSheet() ? null : card().querySelector("img.work");
  if (image?.complete && !image.naturalWidth) return warn(`Picture ${id} cannot be shown now, so nothing is decided about it.`, "Show it", () => replace(id, tile, null));
  const fields = [];
  if (verb === "approve" && !isSheet() && Number(card().dataset.id) === id && !card().dataset.waits) {
    if (wantsAlt(card())) return;
    fields.push(...wordsOf(card()));
    if (isDraftFine(card())) fields.push(["draft_is_fine", "1"]);
  }
  if (isWriting(document.activeElement)) document.activeElement.blur();
  const entry = { ids: [id] }, act = ++numActs;
  mine.push(entry);
  undone = [];
  if (verb === "later") putOff.add(id); else putOff.delete(id);
  explain(id, "");
  send(`/works/${id}/${verb}`, { id, fields, change: { state: DONE[verb] } }).then((answer) => {
    if (answer.ok) {
      if (verb === "approve" && act === numActs) say(`${answer.data.message} ${leftWords()}`, "Undo", undo);
      return;
    }
    mine = mine.filter((one) => one !== entry);
    putOff.delete(id);
    comeBack(id, answer, act);
  });
  const next = isBackToSheet ? null : nextUndecided(id);
  say(`${id} ${TOLD[DONE[verb]]}. ${leftWords()}`, "Undo", undo);
  if (isBackToSheet) {
    isBackToSheet = false;
    toSheet().then(() => { const on = nextUndecided(id); if (on !== undefined) select(on); else finish(); });
  } else if (next !== undefined) select(next);
  else finish();
}

const leftWords = () => { const left = numLeft(); return left ? `${left} left.` : "None is left."; };

function comeBack(id, answer, act) {
  if (answer.isLeftOut) return;
  const { error, kind, field } = answer.data;
  if (kind === "login") return warn(error, "Log in", () => location.assign("/login"));
  explain(id, error);
  if (kind === "alt-text" || field === "alt") {
    if (act === numActs && document.visibilityState === "visible") return void writeAbout(id, error);
    return warn(`${id} is not approved: ${error}`, "Write it", () => writeAbout(id, error));
  }
  warn(error.startsWith(`${id} `) ? error : `${id}: ${error}`, "Show it", () => select(id));
}

async function writeAbout(id, why) {
  isBackToSheet ||= isSheet();
  await show(id);
  if (current !== id) return;
  card().querySelector(".reason").hidden = true;
  askForAlt(card(), why);
}

function star(stars) {
  const id = current;
  if (!tiles.has(id)) return;
  calm();
  numActs += 1;
  const entry = { ids: [id] };
  mine.push(entry);
  undone = [];
  send(`/works/${id}/stars`, { id, fields: [["stars", stars]], change: { stars } }).then((answer) => {
    if (answer.ok) return;
    mine = mine.filter((one) => one !== entry);
    comeBack(id, answer, 0);
  });
  say(stars ? `${id}: ${stars === 1 ? "1 star" : `${stars} stars`}` : `${id}: no stars`);
}

function undo() {
  calm();
  numActs += 1;
  const entry = mine.pop();
  if (!entry) return back("/undo", undefined, "undone", [], undone);
  undone.push(entry);
  for (const id of entry.ids) putOff.delete(id);
  if (entry.ids.length > 1) return back("/undo-each", undefined, "undone", entry.ids.map((id) => ["id", id]));
  return undoOne(entry.ids[0]);
}

function undoOne(id) {
  putOff.delete(id);
  calm();
  if (order.includes(id)) select(id);
  return back(`/works/${id}/undo`, id, "undone");
}

function redo() {
  calm();
  numActs += 1;
  const entry = undone.pop();
  if (!entry) return back("/redo", undefined, "done again", [], mine);
  mine.push(entry);
  if (entry.ids.length === 1 && order.includes(entry.ids[0])) select(entry.ids[0]);
  return Promise.all(entry.ids.map((id) => back(`/works/${id}/redo`, id, "done again")));
}

/** `kept`: where to note which one it was about, where that is known only now. */
async function back(path, id, word, fields = [], kept = null) {
  const tell = sayThen(), answer = await send(path, { id, fields });
  if (!answer.ok) return void (answer.isLeftOut || warn(answer.data.error));
  const { tile, tiles: several, message } = answer.data;
  const first = tile ?? several?.[0];
  if (kept && first) kept.push({ ids: [first.id] });
  tell(message || `${first?.id} ${word}.`);
  if (!first) return;
  const isNew = !order.includes(first.id);
  if (isNew || main.querySelector("#end")) await refresh();
  if (order.includes(first.id) && (isNew || id === undefined)) select(first.id);
  // What the card says of channels and time is of the state that was taken back.
  ready.delete(first.id);
  if (!isSheet() && current === first.id) await replace(current, tiles.get(current), null);
}

function rejectRest() {
  const saw = order.map((id) => tiles.get(id)).filter((tile) => tile.state === "pending");
  if (!isSheet()) return void toSheet().then(rejectRest);
  if (!saw.length) return say("None is pending here.");
  const dialog = main.querySelector("#ask");
  main.querySelector("#ask-words").textContent = saw.length === 1 ? `Reject the one that is still pending here?` : `Reject all ${saw.length} that are still pending here? One undo takes it all back.`;
  dialog.returnValue = "no";
  dialog.addEventListener("close", async () => {
    if (dialog.returnValue !== "yes") return;
    await settled();
    const now = saw.map((tile) => tiles.get(tile.id)).filter((tile) => tile.state === "pending");
    const answer = await send("/reject-rest", { fields: now.map((tile) => ["seen", `${tile.id}:${tile.version}:${tile.sha}`]) });
    if (!answer.ok) return warn(answer.data.error);
    const ids = (answer.data.tiles ?? []).map((tile) => tile.id);
    if (ids.length) mine.push({ ids });
    undone = [];
    say(answer.data.message || `${ids.length} rejected.`, "Undo", undo);
    const next = nextUndecided(current);
    if (next === undefined) finish(); else select(next);
  }, { once: true });
  dialog.showModal();
}

/** Nothing is left: the sheet says how it stands. */
async function finish() {
  await settled();
  if (numLeft()) return;
  if (!isSheet()) await toSheet();
  await refresh();
  const end = main.querySelector("#end");
  if (end) {
    end.tabIndex = -1;
    end.focus({ preventScroll: true });
    scrollTo(0, 0);
    const figures = [...end.querySelectorAll(".figures > span")].map((one) => one.textContent).join(", ");
    say(`Nothing is left: ${figures}.`, "Undo", undo);
  } else say(`All that lie here have been looked at.`, "Undo", undo);
}

/* ---- more like this ---- */

function mark() {
  if (current === null) return;
  if (marks.has(current)) marks.delete(current); else marks.add(current);
  keepMarks([current]);
  say(marks.has(current) ? `${current} marked, ${marks.size} in all.` : `${current} not marked any more.`);
}

function keepMarks(changed = tiles.keys()) {
  sessionStorage.setItem("marks", JSON.stringify([...marks]));
  for (const id of changed) paint(tiles.get(id));
  const bar = document.getElementById("marks");
  if (!bar) return;
  bar.hidden = !marks.size;
  bar.querySelector("[data-marks]").textContent = marks.size;
}

function compare() {
  const chosen = marks.size ? [...marks] : order.filter((id) => tiles.get(id).stars && isUndecided(tiles.get(id)));
  if (chosen.length < 2) return say("Mark two to four pictures first (v), or give stars to those for the final.");
  const isFinal = chosen.length > 4 || !marks.size;
  leave(`/compare?${new URLSearchParams([...chosen.map((id) => ["id", id]), ...(isFinal ? [["finals", "1"]] : [])])}`);
}

async function vary(strength) {
  const id = current;
  if (id === null) return;
  say(`Four ${strength} variations of ${id} are asked for.`);
  const answer = await send(`/works/${id}/vary`, { id, fields: [["strength", strength]] });
  if (answer.ok) say(answer.data.message); else if (!answer.isLeftOut) warn(answer.data.error);
}

async function breed() {
  if (marks.size !== 2) return say(`Mark the two to breed (v); ${marks.size === 1 ? "1 is" : `${marks.size} are`} marked.`);
  const answer = await send("/breed", { fields: [...marks].map((id) => ["id", id]) });
  if (!answer.ok) return warn(answer.data.error);
  marks.clear();
  keepMarks();
  return say(answer.data.message);
}

/* ---- the loupe ---- */

async function fetchPage(url) {
  const response = await ask(url, { headers: { Accept: "text/html" } });
  if (!response) return null;
  if (response.status === 401) { location.reload(); return null; }
  if (!response.ok) return null;
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

const imageOf = async (tile) => {
  const image = new Image();
  image.src = pictureOf(tile);
  await image.decode().catch(() => undefined);
  return image;
};

function fetchAhead(id) {
  const tile = tiles.get(id);
  if (!tile || ready.get(id)?.version === tile.version) return;
  const entry = { version: tile.version, card: null, image: null };
  ready.set(id, entry);
  imageOf(tile).then((image) => { entry.image = image; });
  fetchPage(addressOf(id)).then((page) => {
    const found = page?.getElementById("card");
    entry.card = found && document.importNode(found, true);
    if (!found) ready.delete(id);
  });
}

function ahead() {
  const wanted = [];
  for (let at = current; wanted.length < AHEAD; ) {
    at = nextUndecided(at);
    if (at === undefined || at === current || wanted.includes(at)) break;
    wanted.push(at);
  }
  const at = order.indexOf(current);
  for (const id of [...wanted, order[at + 1], order[at - 1]]) if (id !== undefined) fetchAhead(id);
  for (const id of [...ready.keys()].slice(0, -8)) if (!wanted.includes(id)) ready.delete(id);
}

async function show(id, { isNew = isSheet() } = {}) {
  const tile = tiles.get(id);
  if (!tile) return void location.assign(addressOf(id));
  current = id;
  const entry = ready.get(id);
  if (isSheet()) {
    if (!other.card) {
      const page = await fetchPage(addressOf(id));
      const found = page?.querySelector("main.loupe");
      if (!found) return void warn("artbot does not answer; the pictures are still here.");
      swap(document.importNode(found, true), "card");
      read(main);
      placed();
    } else {
      swap(other.card.main, "card");
      await replace(id, tile, entry);
    }
  } else if (Number(card().dataset.id) !== id || card().dataset.waits) await replace(id, tile, entry);
  if (current === id) history[isNew ? "pushState" : "replaceState"](null, "", addressOf(id));
}

let numReplaced = 0;

async function replace(id, tile, entry) {
  const turn = ++numReplaced;
  if (entry?.card && entry.version === tile.version) return place(entry.card, entry.image);
  // The picture at once, what belongs to it when it comes.
  const old = card(), image = old.querySelector("img.work");
  image.replaceWith(Object.assign(new Image(tile.width, tile.height), { className: "work", alt: `Picture ${id}`, src: pictureOf(tile) }));
  Object.assign(old.dataset, { id, waits: "yes" });
  old.querySelector(".panel").inert = true;
  lookAt(main);
  paintStrip();
  const page = await fetchPage(addressOf(id));
  if (current !== id || isSheet() || turn !== numReplaced) return;
  const found = page?.getElementById("card");
  if (found) place(document.importNode(found, true), null);
  else warn(`What belongs to ${id} cannot be had now.`, "Try again", () => replace(id, tile));
}

function place(fresh, image) {
  const old = card(), held = old.contains(document.activeElement) && document.activeElement;
  const isOpen = (each) => each.querySelector("#facts")?.open;
  if (isOpen(old)) fresh.querySelector("#facts").open = true;
  if (image?.complete && image.naturalWidth) {
    const plain = fresh.querySelector("img.work");
    image.className = "work";
    image.alt = plain.alt;
    image.width = plain.getAttribute("width");
    image.height = plain.getAttribute("height");
    plain.replaceWith(image);
  }
  old.replaceWith(fresh);
  ready.delete(Number(fresh.dataset.id));
  placed();
  const again = held && (held.dataset.act ? fresh.querySelector(`[data-act="${held.dataset.act}"]`) : fresh.querySelector(".stage"));
  again?.focus?.({ preventScroll: true });
}

function placed() {
  read(main);
  const tile = tiles.get(current);
  paint(tile);
  prepareWords(card());
  lookAt(main);
  card().querySelector(".panel").scrollTop = 0;
  document.title = `${tile.id} ${tile.name} · artbot`;
  const at = order.indexOf(current), place = card().querySelector("#place");
  if (place && at >= 0) place.textContent = `${at + 1} of ${order.length}`;
  requestAnimationFrame(() => setTimeout(ahead));
}

function paintStrip() {
  const strip = document.getElementById("strip");
  if (!strip || isSheet()) return;
  const at = order.indexOf(current);
  const from = Math.max(0, Math.min(at - AROUND, order.length - 2 * AROUND - 1));
  const ids = at < 0 ? [] : order.slice(from, from + 2 * AROUND + 1);
  const drawn = new Map([...strip.children].map((item) => [Number(item.dataset.of), item]));
  const items = ids.map((id) => {
    const tile = tiles.get(id);
    let item = drawn.get(id);
    if (!item) {
      item = document.createElement("li");
      item.dataset.of = id;
      const link = document.createElement("a");
      link.href = addressOf(id);
      link.append(Object.assign(new Image(48, 48), { src: pictureOf(tile), loading: "lazy", decoding: "async" }));
      item.append(link);
    }
    item.className = `${isUndecided(tile) ? "" : "decided"}`;
    item.firstChild.className = id === current ? "here" : "";
    item.firstChild.firstChild.alt = `Picture ${id}, ${tile.state}`;
    if (id === current) item.firstChild.setAttribute("aria-current", "true"); else item.firstChild.removeAttribute("aria-current");
    return item;
  });
  if (items.length === strip.children.length && items.every((item, n) => item === strip.children[n])) return;
  strip.replaceChildren(...items);
}

/* ---- from one to the other ---- */

function swap(next, page) {
  other[main.dataset.page] = { main, scrolled: scrollY };
  main.replaceWith(next);
  main = next;
  other[page] = null;
  document.body.classList.remove("full");
}

async function toSheet({ push = true } = {}) {
  if (isSheet()) return;
  const url = `/${query()}`;
  isBackToSheet = false;
  resetView();
  if (other.sheet) {
    const { main: sheet, scrolled } = other.sheet;
    swap(sheet, "sheet");
    scrollTo(0, scrolled);
  } else {
    const page = await fetchPage(url);
    const found = page?.querySelector("main.sheet");
    if (!found) return void leave(url);
    swap(document.importNode(found, true), "sheet");
    read(main);
    const here = [...main.querySelectorAll(".tile")].map((tile) => Number(tile.dataset.id));
    order = [...here, ...order.filter((id) => !here.includes(id) && tileOf(id))];
    for (const tile of tiles.values()) paint(tile);
  }
  document.title = "artbot";
  if (push) history.pushState(null, "", url);
  keepMarks();
  if (tileOf(current)) select(current);
  tag = "";  // what came while the sheet was out of sight is not on it yet
  if (!isBusy()) meanwhile();
}

/** New pictures take their places; what lies here stays where it is. */
async function refresh() {
  if (!isSheet()) return;
  const page = await fetchPage(`/${query()}`);
  const sheet = page?.querySelector("main.sheet");
  if (!sheet) return;
  read(sheet);
  let list = main.querySelector("#tiles");
  if (!list && sheet.querySelector("#tiles")) {
    list = Object.assign(document.createElement("ul"), { id: "tiles", className: "tiles" });
    main.querySelector(".chips").after(list);
  }
  let before = null;
  for (const tile of sheet.querySelectorAll(".tile")) {
    const id = Number(tile.dataset.id);
    if (!tileOf(id)) {
      const item = document.createElement("li");
      item.className = "stack";
      item.append(document.importNode(tile, true));
      const after = before && tileOf(before)?.closest(".stack");
      if (after) after.after(item); else list.prepend(item);
      order.splice(before ? order.indexOf(before) + 1 : 0, 0, id);
    }
    before = id;
  }
  main.querySelector("#end")?.remove();
  const end = sheet.querySelector("#end");
  if (end) main.querySelector(".chips").after(document.importNode(end, true));
  for (const fresh of sheet.querySelectorAll(".chips [data-count]")) main.querySelector(`.chips [data-count="${fresh.dataset.count}"]`).textContent = fresh.textContent;
  main.querySelector(".head h1").replaceChildren(...document.importNode(sheet.querySelector(".head h1"), true).childNodes);
  for (const tile of tiles.values()) paint(tile);
}

/* ---- what others decide meanwhile ---- */

async function lookAgain() {
  if (document.visibilityState === "visible" && !isBusy()) await meanwhile();
  setTimeout(lookAgain, LOOK_AGAIN_MS);
}

async function meanwhile() {
  const acts = numActs;
  const response = await ask(`/sheet.json${query()}`, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
  if (!response || response.status !== 200 || acts !== numActs || isBusy()) return;
  tag = response.headers.get("ETag") ?? "";
  const { sheet } = await response.json();
  const there = new Map(sheet.stacks.flatMap((stack) => stack.tiles).map((tile) => [tile.id, tile]));
  const gone = order.filter((id) => !there.has(id) && isUndecided(tiles.get(id)) && ["undecided", "pending", "later"].includes(main.dataset.show));
  for (const tile of there.values()) if (tiles.has(tile.id)) learn(fromServer(tile));
  for (const id of gone) {
    const answer = await ask(`/works/${id}/card.json`);
    if (answer?.ok) { const { card: now } = await answer.json(); learn(fromServer(now.tile), now.history.at(-1)); }
  }
  if ([...there.keys()].some((id) => !order.includes(id))) {
    const num = order.length;
    await refresh();
    if (order.length > num) say(`${order.length - num === 1 ? "1 new picture" : `${order.length - num} new pictures`}.`);
  }
}

function learn(now, told) {
  const known = tiles.get(now.id);
  if (isBusy(now.id) || now.version <= known.version) return;
  know(now);
  if (known.state === now.state) return;
  const words = told ? `Decided elsewhere: ${told}` : `${now.state} elsewhere`;
  explain(now.id, words);
  if (now.id === current) say(`${now.id}: ${words}`);
}

/* ---- hands ---- */

const focusOn = async (selector) => {
  if (isSheet()) await show(current);
  const field = card().querySelector(selector);
  const folded = field?.closest("details:not([open])");
  if (folded) folded.open = true;
  field?.focus();
};

onKeys({
  approve: () => decide("approve"),
  reject: () => decide("reject"),
  later: () => decide("later"),
  undo, redo, mark, compare, breed,
  next: () => step(1),
  previous: () => step(-1),
  up: () => row(-1),
  down: () => row(1),
  ...Object.fromEntries([0, 1, 2, 3, 4, 5].map((stars) => [`star${stars}`, () => star(stars)])),
  "reject-rest": rejectRest,
  sheet: () => toSheet(),
  loupe: () => show(current),
  zoom: async () => { if (isSheet()) await show(current); say(togglePixels() ? "Every pixel as it is." : "The whole picture."); },
  facts: async () => { if (isSheet()) await show(current); const facts = card().querySelector("#facts"); facts.open = !facts.open; if (facts.open) facts.scrollIntoView({ block: "nearest" }); },
  "vary-subtle": () => vary("subtle"),
  "vary-strong": () => vary("strong"),
  words: () => focusOn("#alt"),
  channels: () => focusOn("#channels input[type=checkbox], #when"),
  full: async () => { if (isSheet()) await show(current); document.body.classList.toggle("full"); lookAt(main); },
  help: () => leave("/help"),
  quit: async () => { await settled(); if (!isSheet()) await toSheet(); say("Everything is saved; the window can be closed."); },
  "key escape": () => { if (document.body.classList.contains("full")) { document.body.classList.remove("full"); lookAt(main); } else if (!isSheet()) toSheet(); else calm(); },
  "key +": () => zoomBy(1.4),
  "key -": () => zoomBy(1 / 1.4),
});

document.addEventListener("keydown", (event) => {
  if (isWriting(event.target)) {
    if (event.key === "Escape") { event.preventDefault(); event.target.blur(); card()?.querySelector(".stage").focus({ preventScroll: true }); }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target.form?.id === "words") {
      if (event.target.id === "caption") return;
      event.preventDefault();
      if (event.target.id === "alt" || event.ctrlKey || event.metaKey) decide("approve");
    }
    return;
  }
  const moves = { ArrowLeft: [0.08, 0], ArrowRight: [-0.08, 0], ArrowUp: [0, 0.08], ArrowDown: [0, -0.08] };
  if (event.shiftKey && event.key in moves && !isSheet()) { event.preventDefault(); moveBy(...moves[event.key]); }
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-acts]");
  if (!form) return;
  event.preventDefault();
  const path = event.submitter?.getAttribute("formaction") ?? form.getAttribute("action");
  const of = form.closest("[data-id]");
  const verb = path.split("/").pop();
  if (of && isSheet() && of.classList.contains("tile")) select(Number(of.dataset.id), { focus: false });
  if (verb in DONE) decide(verb);
  else if (verb === "stars") star(Number(event.submitter.value));
  else if (verb === "vary") vary(event.submitter.value);
  else if (path === "/undo") undo();
  else if (path === "/redo") redo();
  else if (verb === "undo") undoOne(current);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  const does = { mark, compare, breed, "reject-rest": rejectRest, unmark: () => { marks.clear(); keepMarks(); } }[button?.dataset.act];
  if (does) return does();
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return undefined;
  const work = link.pathname.match(/^\/works\/(\d+)$/);
  if (work && order.includes(Number(work[1])) && link.origin === location.origin) { event.preventDefault(); return show(Number(work[1])); }
  if (link.matches(".back")) { event.preventDefault(); return toSheet(); }
  return undefined;
});
document.addEventListener("focusin", (event) => {
  const tile = isSheet() && event.target.closest(".tile");
  if (tile && Number(tile.dataset.id) !== current) select(Number(tile.dataset.id), { focus: false });
});
document.addEventListener("swipe", (event) => decide(event.detail));
document.addEventListener("change", (event) => { if (event.target.id === "batch") event.target.form.requestSubmit(); });
addEventListener("popstate", () => {
  const work = location.pathname.match(/^\/works\/(\d+)$/);
  if (work && tiles.has(Number(work[1]))) show(Number(work[1]), { isNew: false });
  else if (location.pathname === "/" && new URLSearchParams(location.search).get("show") === main.dataset.show) toSheet({ push: false });
  else location.reload();
});
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible" && !isBusy()) meanwhile(); });

read(main);
if (isSheet()) {
  order = [...main.querySelectorAll(".tile")].map((tile) => Number(tile.dataset.id));
  const asked = Number(location.hash.match(/^#tile-(\d+)$/)?.[1]);
  select(tiles.has(asked) ? asked : order.find((id) => isUndecided(tiles.get(id))) ?? order[0], { focus: false });
  keepMarks();
} else {
  order = [...main.querySelectorAll("#order li")].map((item) => Number(item.dataset.id));
  current = Number(card().dataset.id);
  if (!order.includes(current)) order.unshift(current);
  placed();
}
setTimeout(lookAgain, LOOK_AGAIN_MS);
if (location.hash === "#write" && !isSheet() && isUndecided(tiles.get(current))) {
  history.replaceState(null, "", location.pathname + location.search);
  askForAlt(card());
}
