// On a narrow screen the tabs scroll, and the one that is open may begin out of sight.

/** Scroll each row of tabs, but not the page, to its current one. */
export function showCurrentTab(): void {
  for (const tab of document.querySelectorAll<HTMLElement>(".tabs [aria-current]")) {
    const row = tab.closest<HTMLElement>(".tabs")!;
    const [shown, place] = [row.getBoundingClientRect(), tab.getBoundingClientRect()];
    if (place.right > shown.right || place.left < shown.left) row.scrollLeft += place.left - shown.left - (shown.width - place.width) / 2;
  }
}
