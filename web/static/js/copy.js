// Buttons that copy a text of the page; where the browser offers no clipboard, they select it.

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {  // only secure pages have a clipboard of this kind
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (await copy(document.getElementById(button.dataset.copy))) button.textContent = button.dataset.done;
  });
}
