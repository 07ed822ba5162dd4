// Wires the page: what is typed as knots is shown as kilometres an hour.
import { describe } from "./speed";
import "./style.css";

const input = document.querySelector<HTMLInputElement>("#knots");
const output = document.querySelector("output");

function show(): void {
  if (input && output) output.textContent = describe(input.value);
}

input?.addEventListener("input", show);
show();
