// The pages work without this file. A night is shown as soon as it is picked, and links into Airflow leave the frame in
// which Airflow shows the board: a framed page may not do so itself, so the page around it follows the link.
document.querySelectorAll("input[type=date]").forEach((input) =>
  input.addEventListener("change", () => input.value && input.form.submit()));

document.querySelectorAll("a[data-top]").forEach((link) => link.addEventListener("click", (event) => {
  if (window.parent === window || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const outer = window.parent.document.createElement("a");
  outer.href = link.href;
  window.parent.document.body.append(outer);
  outer.click();
  outer.remove();
}));
