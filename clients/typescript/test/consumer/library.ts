// A library that exports what it makes of this package: with declarations, every type has to have a name.

import { connect, type ChatStep, type Conversation, type Steps } from "stepwire";

const client = connect("localhost:50051");

export const conversation = client.Conversation && new client.Conversation();
export const factory = new client.ChatStepFactory();
export const step = factory.newStep();
export const searching = client.steps.search();
export const chatting = client.steps.chat.bind(client.steps);
export const listing = client.listConversations.bind(client);
export const models = client.models.bind(client);
export const describing = client.embeddingModel.bind(client);
export const finding = client.searchMessages.bind(client);
export const uploading = client.uploadImage.bind(client);
export const written = step.toProto();
export const known = client.steps.list.bind(client.steps);
export const { services, embeddings, steps } = client;
export class Mine extends client.Conversation {}

export function keep(made: Steps) {
  return made.createParallelStep({ step: "upper" });
}

export function renamed(made: ChatStep) {
  return made.with({ name: "mine" });
}

interface Source {
  source: string;
}

export function tell(to: Conversation, source: Source): string {
  return to.AddMessage("user", "Hi", { metadata: source });
}
