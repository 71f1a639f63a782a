// How a run learned: its grids of the same seeds, one after the other.

import { onKeys } from "./keys.js";
import { away } from "./pages.js";

const slider = document.getElementById("scrub"), picture = document.getElementById("grid"), told = document.getElementById("at");
const grids = [...document.querySelectorAll("#grids li")].map((item) => ({ kimg: item.dataset.kimg, url: item.firstElementChild.href }));
let wanted = "";

async function show(at) {
  const place = Math.max(0, Math.min(grids.length - 1, at)), grid = grids[place];
  slider.value = place;
  slider.setAttribute("aria-valuetext", `${grid.kimg} kimg`);
  told.textContent = `${grid.kimg} kimg`;
  wanted = grid.url;
  const image = Object.assign(new Image(), { src: grid.url });
  await image.decode().catch(() => undefined);
  if (wanted !== grid.url) return;  // somebody is further already
  picture.src = grid.url;
  picture.alt = `Pictures of the same seeds after ${grid.kimg} kimg`;
  for (const near of [place + 1, place - 1]) if (grids[near]) new Image().src = grids[near].url;
}

if (slider) {
  slider.addEventListener("input", () => show(Number(slider.value)));
  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    show(Number(slider.value) + by * (event.shiftKey ? 10 : 1));
  });
}
onKeys(away);
