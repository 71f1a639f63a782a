// Pages on which nothing is decided: only the keys that lead away from them.

import { leave } from "./desk.js";
import { onKeys } from "./keys.js";

export const away = {
  sheet: () => leave("/"),
  quit: () => leave("/"),
  help: () => leave("/help"),
  "key escape": () => leave("/"),
};
if (document.querySelector("main").dataset.page !== "run") onKeys(away);
