// Copies the text of another element. Without this script, and where the browser has no clipboard, the buttons stay hidden.
for (const button of navigator.clipboard ? document.querySelectorAll('[data-copies]') : []) {
  const state = button.querySelector('[data-state]');
  const source = document.getElementById(button.dataset.copies);
  const label = state.textContent;
  let timer;
  button.hidden = false;
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      state.textContent = 'Copied';
    } catch {
      // Without permission, the text is selected for the user to copy.
      getSelection().selectAllChildren(source);
      state.textContent = 'Press Ctrl+C';
    }
    clearTimeout(timer);
    timer = setTimeout(() => { state.textContent = label; }, 4000);
  });
}
