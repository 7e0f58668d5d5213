// Shows or hides a password. Without this script the buttons stay hidden and the fields work as usual.
for (const button of document.querySelectorAll('[data-reveals]')) {
  const input = document.getElementById(button.dataset.reveals);
  const show = (isShown) => {
    input.type = isShown ? 'text' : 'password';
    button.firstElementChild.textContent = isShown ? 'Hide' : 'Show';
  };
  button.hidden = false;
  button.addEventListener('click', () => show(input.type === 'password'));
  // Browsers may save the values of text fields for autocompletion when a form is submitted.
  input.form.addEventListener('submit', () => show(false));
}
