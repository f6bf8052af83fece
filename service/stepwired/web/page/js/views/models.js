/** Which model answers: the server's list, and what was chosen last. */

import * as api from "../api.js";
import { h } from "../dom.js";
import { recall, remember } from "../prefs.js";

export class Models {
  constructor({ picker }) {
    this.picker = picker;
    picker.addEventListener("change", () => remember("model", picker.value));
  }

  /** The chosen one's name; empty where the server is to choose. */
  get chosen() {
    return this.picker.value;
  }

  /** Reads the list. Where that fails the server's default answers, and the error is thrown. */
  async load() {
    const { models = [] } = await api.listModels();
    const groups = Map.groupBy(models, (model) => model.provider || "other");
    const options = [...groups].map(([provider, group]) => {
      const inside = group.map((model) => h("option", { value: model.name, title: describe(model) }, model.name));
      return groups.size > 1 ? h("optgroup", { label: provider }, inside) : inside;
    });
    this.picker.replaceChildren(...options.flat());
    const before = recall("model");
    const wanted = models.find((model) => model.name === before) ?? models.find((model) => model.isDefault);
    if (wanted) this.picker.value = wanted.name;
    this.picker.disabled = models.length === 0;
    if (!models.length) this.picker.replaceChildren(h("option", { value: "" }, "no model"));
  }
}

function describe({ provider, providerModel, contextLength, abilities = [] }) {
  const context = contextLength ? `reads ${contextLength.toLocaleString("en")} tokens` : "";
  return [`${providerModel || ""} at ${provider}`, context, abilities.join(", ")].filter(Boolean).join(" · ");
}
