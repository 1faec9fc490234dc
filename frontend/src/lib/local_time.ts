// <time datetime> in the reader's own zone; the server wrote UTC, which stays in the title.
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Of the times in a part of the page. */
export function showLocalTimes(part: ParentNode): void {
  for (const time of part.querySelectorAll<HTMLTimeElement>("time[data-local]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = time.textContent?.trim() ?? "";
    time.textContent = FULL.format(at);
    time.removeAttribute("data-local");
  }
}
