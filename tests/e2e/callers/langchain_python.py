"""Calls with LangChain: `python langchain_python.py <url> <model> <what>`; prints what came, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


@tool
def get_weather(city: str) -> str:
    """The weather of a place"""
    return f"sunny in {city}"


class Weather(BaseModel):
    """A weather report"""

    city: str
    degrees: int


class Caller:
    def __init__(self, url: str, model: str) -> None:
        self.url, self.model = f"{url}/v1", model

    @property
    def chat(self) -> ChatOpenAI:
        return ChatOpenAI(base_url=self.url, api_key="none", model=self.model, max_retries=0)  # type: ignore[arg-type]

    def plain(self) -> Any:
        made = self.chat.invoke("hi")
        usage: Any = made.usage_metadata
        finish = made.response_metadata["finish_reason"]
        return {"text": made.text, "finish": finish, "usage": [usage["input_tokens"], usage["output_tokens"]]}

    def stream(self) -> Any:
        whole: Any = None
        for chunk in self.chat.stream("hi", stream_usage=True):
            whole = chunk if whole is None else whole + chunk
        usage = whole.usage_metadata
        finish = whole.response_metadata["finish_reason"]
        return {"text": whole.text, "finish": finish, "usage": [usage["input_tokens"], usage["output_tokens"]]}

    def tools(self) -> Any:
        bound = self.chat.bind_tools([get_weather])
        said = bound.invoke([HumanMessage("weather")])
        return self._answered(bound, said)

    def tools_streamed(self) -> Any:
        bound = self.chat.bind_tools([get_weather])
        said: Any = None
        for chunk in bound.stream([HumanMessage("weather")]):
            said = chunk if said is None else said + chunk
        return self._answered(bound, said)

    def _answered(self, bound: Any, said: Any) -> Any:
        [call] = said.tool_calls
        made = get_weather.invoke(call)
        assert isinstance(made, ToolMessage)
        answer = bound.invoke([HumanMessage("weather"), said, made])
        return {"name": call["name"], "arguments": call["args"], "text": answer.text}

    def structured(self) -> Any:
        made: Any = self.chat.with_structured_output(Weather, method="json_schema").invoke("as json")
        return made.model_dump()

    def embed(self) -> Any:
        model = "vectors" if self.model == "fake" else "minilm"
        # Without it LangChain sends numbers of OpenAI's tokens in place of texts.
        embed = OpenAIEmbeddings(
            base_url=self.url,
            api_key="none",
            model=model,
            check_embedding_ctx_length=False,
            max_retries=0,  # type: ignore[arg-type]
        )
        # As many at a time as it likes, where a model costs nothing.
        vectors = embed.embed_documents(["a", "bb"] * (501 if self.model == "fake" else 1))
        return {"count": len(vectors), "dimensions": len(vectors[0])}

    def abort(self) -> Any:
        stream = self.chat.stream("hang")
        for chunk in stream:
            if chunk.text:
                break
        stream.close()  # type: ignore[attr-defined]
        return "aborted"

    def bad_model(self) -> Any:
        self.model = "no-such-model"
        return self.plain()

    def limited(self) -> Any:
        return self.chat.invoke("limit").text

    def cut(self) -> Any:
        return [chunk.text for chunk in self.chat.stream("cut")]


def main() -> None:
    _, url, model, what = sys.argv
    try:
        said = getattr(Caller(url, model), what)()
    except openai.APIError as error:
        said = {"error": type(error).__name__, "message": str(error), "code": error.code}
    print(json.dumps(said), flush=True)
    if what == "abort":
        sys.stdin.read()


main()
