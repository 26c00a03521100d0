// Times in the reader's own zone; questions before what cannot be undone; the menu on a phone.

const clock = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });

export function localTimes(root = document) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-short])")) {
    time.title = time.dateTime;
    time.textContent = clock.format(new Date(time.dateTime));
  }
}

localTimes();

document.addEventListener("submit", (event) => {
  const sure = event.target.dataset.sure;
  if (sure && !confirm(sure)) event.preventDefault();
});

const narrow = matchMedia("(max-width: 52rem)");
const menu = document.querySelector(".menu details");
if (menu && narrow.matches) menu.open = false;
narrow.addEventListener("change", () => { if (menu) menu.open = !narrow.matches; });
