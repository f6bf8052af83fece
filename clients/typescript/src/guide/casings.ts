/** The guide writes `conv.AddMessage` and `conv.toGoConversation`: every method answers to both spellings. */

/** `T` with every method also under its name with a capital first letter. */
export type BothCasings<T> = T & { readonly [K in keyof T & string as Capitalize<K>]: T[K] };

/** Gives the prototype of a class, whose methods begin with small letters, each of them with a capital one too. */
export function bothCasings(prototype: object): void {
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
    const capital = name[0]?.toUpperCase() + name.slice(1);
    if (name !== "constructor" && !(capital in prototype)) Object.defineProperty(prototype, capital, property);
  }
}
