"""Calls with openai-python: `python openai_python.py <url> <what>`; prints what came, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import openai
from pydantic import BaseModel

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Weather(BaseModel):
    city: str
    degrees: int


class Caller:
    def __init__(self, url: str, model: str) -> None:
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        self.model = model

    def create(self, prompt: str, **more: Any) -> Any:
        messages = more.pop("messages", None) or [{"role": "user", "content": prompt}]
        return self.client.chat.completions.create(model=self.model, messages=messages, **more)

    def plain(self) -> Any:
        made = self.create("hi")
        [choice] = made.choices
        return {
            "text": choice.message.content,
            "finish": choice.finish_reason,
            "usage": [made.usage.prompt_tokens, made.usage.completion_tokens],
        }

    def stream(self) -> Any:
        chunks = list(self.create("hi", stream=True, stream_options={"include_usage": True}))
        pieces = [
            chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content
        ]
        usage = chunks[-1].usage
        ends = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
        return {"text": "".join(pieces), "finish": ends[-1], "usage": [usage.prompt_tokens, usage.completion_tokens]}

    def tools(self) -> Any:
        asked: list[Any] = [{"role": "user", "content": "weather"}]
        said = self.create("", messages=asked, tools=[TOOL]).choices[0].message
        [call] = said.tool_calls
        asked += [said, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
        answer = self.create("", messages=asked, tools=[TOOL]).choices[0].message.content
        return {"name": call.function.name, "arguments": json.loads(call.function.arguments), "text": answer}

    def tools_streamed(self) -> Any:
        asked: list[Any] = [{"role": "user", "content": "weather"}]
        with self.client.chat.completions.stream(model=self.model, messages=asked, tools=[TOOL]) as stream:
            said = stream.get_final_completion().choices[0].message
        [call] = said.tool_calls or []
        asked += [said, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
        answer = self.create("", messages=asked, tools=[TOOL]).choices[0].message.content
        return {"name": call.function.name, "arguments": json.loads(call.function.arguments), "text": answer}

    def structured(self) -> Any:
        asked: Any = [{"role": "user", "content": "as json"}]
        made = self.client.chat.completions.parse(model=self.model, messages=asked, response_format=Weather)
        value = made.choices[0].message.parsed
        return value.model_dump() if value else None

    def embed(self) -> Any:
        model = "vectors" if self.model == "fake" else ""
        found = [
            self.client.embeddings.create(model=model or "minilm", input=["a", "bb"], **how)  # type: ignore[call-overload]
            for how in ({}, {"encoding_format": "float"})
        ]
        vectors = [[round(number, 4) for number in each.embedding] for each in found[0].data]
        assert vectors == [[round(number, 4) for number in each.embedding] for each in found[1].data]
        return {"count": len(vectors), "dimensions": len(vectors[0])}

    def models(self) -> Any:
        listed = [model.id for model in self.client.models.list()]
        return {"listed": self.model in listed, "one": self.client.models.retrieve(self.model).id}

    def abort(self) -> Any:
        stream = self.create("hang", stream=True)
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
        stream.close()
        return "aborted"

    def bad_model(self) -> Any:
        self.model = "no-such-model"
        return self.create("hi")

    def limited(self) -> Any:
        return self.create("limit")

    def cut(self) -> Any:
        return [chunk.choices[0].delta.content for chunk in self.create("cut", stream=True)]


def main() -> None:
    _, url, model, what = sys.argv
    try:
        said = getattr(Caller(url, model), what)()
    except openai.APIError as error:
        said = {"error": type(error).__name__, "message": str(error), "code": error.code}
    print(json.dumps(said), flush=True)
    if what == "abort":
        sys.stdin.read()  # so that the end of the process is not what closes the connection


main()
