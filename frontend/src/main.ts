// On all pages, and small: what only some need is an island.
import "./style/index.css";
import "./icon.svg?url";
import htmx from "htmx.org";
import { watchCopying } from "./lib/copy";
import { mountIslands } from "./lib/islands";
import { showLocalTimes } from "./lib/local_time";
import { watchPalette } from "./lib/palette";
import { showCurrentTab } from "./lib/tabs";
import { watchTheme } from "./lib/theme";

import.meta.glob("./style/pages/*.css", { eager: true });

watchTheme();
watchCopying();
watchPalette();

// Now, and for each part that htmx brings later.
htmx.onLoad((part) => {
  mountIslands(part);
  showLocalTimes(part);
});
mountIslands(document);
showLocalTimes(document);
showCurrentTab();
