// Copy buttons, filters that apply themselves, forms that are sent once, and a search that never carries a secret.
"use strict";
{
  const WHOLE_KEY = /sk-bridge_(?:live|test)_([0-9A-Za-z]{8})[0-9A-Za-z]+/;

  // The clipboard API wants https or localhost; a selection works everywhere.
  function copyBySelection(source) {
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    const done = document.execCommand("copy");
    if (done) selection.removeAllRanges();
    return done;
  }

  async function copy(source) {
    try {
      await navigator.clipboard.writeText(source.textContent);
      return true;
    } catch {
      return copyBySelection(source);
    }
  }

  function setUpCopyButton(button) {
    const label = button.textContent;
    button.hidden = false;
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      const done = await copy(document.getElementById(button.dataset.copy));
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      setTimeout(() => { button.textContent = label; }, 2000);
    });
  }

  // A reload of a page that answered a POST becomes a GET of the row's own page.
  function replaceAddress(element) {
    history.replaceState(null, "", element.dataset.replaceUrl);
  }

  function setUpFilters(form) {
    form.querySelector("[type=submit]").hidden = true; // Enter and the selects do it
    form.querySelectorAll("select[data-apply]").forEach((select) => {
      select.addEventListener("change", () => form.requestSubmit());
    });
    form.addEventListener("submit", () => {
      form.querySelectorAll("input, select").forEach((field) => {
        const key = WHOLE_KEY.exec(field.value);
        if (key) field.value = key[1];
        if (!field.value) field.disabled = true;
      });
    });
  }

  function sendOnce(form) {
    form.addEventListener("submit", () => setTimeout(() => setDisabled(form, true)));
    addEventListener("pageshow", () => setDisabled(form, false));
  }

  function setDisabled(form, disabled) {
    form.querySelectorAll("[type=submit]").forEach((button) => { button.disabled = disabled; });
  }

  document.querySelectorAll("[data-copy]").forEach(setUpCopyButton);
  document.querySelectorAll("[data-replace-url]").forEach(replaceAddress);
  document.querySelectorAll("form.bar").forEach(setUpFilters);
  document.querySelectorAll("form[data-once], #apikey_form").forEach(sendOnce);
  addEventListener("pageshow", () => {
    document.querySelectorAll("form.bar :disabled").forEach((field) => { field.disabled = false; });
  });
}
