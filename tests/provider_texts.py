"""What providers say, with 400 (or 404, 422), when they do not take a wire or something else."""

import json
from typing import Any, NamedTuple

from stratum.clients.wires import Rung
from stratum.testing.local_model import Response


class Said(NamedTuple):
    """A provider's answer: to requests on which wire, with what status and body."""

    rung: Rung
    body: Any
    status: int = 400

    @property
    def text(self) -> str:
        return self.body if isinstance(self.body, str) else json.dumps(self.body)

    @property
    def response(self) -> Response:
        return Response(self.status, self.body)


def openai(message: str, param: str | None = None) -> Any:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param}}


def anthropic(message: str) -> Any:
    return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}


def vllm(message: str) -> Any:
    return {"object": "error", "message": message, "type": "BadRequestError", "code": 400}


MODEL_REFUSALS: dict[str, Said] = {
    "openai-schema": Said("schema", openai(
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this "
        "model. Learn more about supported models at the Structured Outputs guide: "
        "https://platform.openai.com/docs/guides/structured-outputs")),
    "openai-tools": Said("tool", openai("tools is not supported in this model.", "tools")),
    "groq-schema": Said("schema", openai(
        "This model does not support response format `json_schema`. See supported models at "
        "https://console.groq.com/docs/structured-outputs#supported-models", "response_format")),
    "groq-old-schema": Said("schema", openai(
        "'response_format.type' : value is not one of the allowed values ['text','json_object']")),
    "groq-tool": Said("tool", openai("`tool calling` is not supported with this model")),
    "vllm-schema": Said("schema", vllm(
        "[{'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), 'msg': \"Input "
        "should be 'text' or 'json_object'\", 'input': 'json_schema'}]")),
    "vllm-tool": Said("tool", vllm(
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')),
    "vllm-old-tool": Said("tool", vllm(
        '`tool_choice` must either be a named tool, "auto", or "none".')),
    "anthropic-schema": Said("schema", anthropic(
        "output_config.format: Extra inputs are not permitted")),
    "anthropic-tool": Said("tool", anthropic(
        'tool_choice: type "tool" and "any" are not supported for this model.')),
    "anthropic-thinking": Said("tool", anthropic(
        "Thinking may not be enabled when tool_choice forces tool use.")),
    "bedrock-tool": Said("tool", openai(
        "This model doesn't support the toolConfig.toolChoice.any field. Remove "
        "toolConfig.toolChoice.any and try again.")),
    "gemini-schema": Said("schema", openai("JSON mode is not enabled for models/gemma-3-27b-it")),
    "gemini-tool": Said("tool", openai(
        "Function calling is not enabled for models/gemma-3-27b-it")),
    "xai-schema": Said("schema", {
        "code": "Client specified an invalid argument",
        "error": "The response_format parameter is unsupported at the moment. Leave it unset."}),
    "deepseek-schema": Said("schema", openai("This response_format type is unavailable now")),
    "deepseek-tool": Said("tool", openai("deepseek-reasoner does not support this tool_choice")),
    "openrouter-tool": Said("tool", openai(
        "No endpoints found that support tool use. To learn more about provider routing, visit: "
        "https://openrouter.ai/docs/provider-routing"), 404),
    "ollama-tool": Said("tool", openai(
        "registry.ollama.ai/library/gemma:latest does not support tools")),
    "mistral-schema": Said("schema", {"object": "error", "message": {"detail": [{
        "type": "literal_error", "loc": ["body", "response_format", "type"],
        "msg": "Input should be 'text' or 'json_object'"}]}}, 422),
    "litellm-tool": Said("tool", openai(
        "ollama does not support parameters: ['tool_choice'], for model=llama3. To drop these, "
        "set `litellm.drop_params=True`")),
}  # fmt: skip

CONTRACT_REFUSALS: dict[str, Said] = {
    "openai-schema": Said("schema", openai(
        "Invalid schema for response_format 'answer': In context=('properties', 'n'), 'oneOf' is "
        "not permitted.", "response_format")),
    "openai-tool": Said("tool", openai(
        "Invalid schema for function 'answer': In context=(), 'required' is required to be "
        "supplied and to be an array including every key in properties.",
        "tools[0].function.parameters")),
    "anthropic-schema": Said("schema", anthropic(
        "output_config.format.schema: For 'number' type, property 'maximum' is not supported")),
    "anthropic-tool": Said("tool", anthropic(
        "tools.0.custom: For 'array' type, property 'maxItems' is not supported")),
    "vllm-schema": Said("schema", vllm(
        "The provided JSON schema contains features not supported by xgrammar.")),
    "gemini-schema": Said("schema", openai(
        "The specified response_schema produces a constraint: schema produces a constraint that "
        "has too many states for serving.")),
}  # fmt: skip

OTHERS: dict[str, Said] = {
    "temperature": Said("schema", openai(
        "Unsupported value: 'temperature' does not support 0.5 with this model.", "temperature")),
    "model": Said("schema", openai("Invalid model: no such model 'test-model'"), 400),
    "model-named-so": Said("schema", openai(
        "The model `json_schema-7b` does not exist or you do not have access to it."), 404),
    "length": Said("tool", openai(
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens "
        "(8000 in the messages, 100 in the functions). Please reduce the length: it must be less")),
    "image": Said("schema", openai("Invalid content type. image_url is not supported here")),
    "order": Said("tool", anthropic(
        "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after. "
        "Each tool_use block must be followed by a tool_result")),
    "order-openai": Said("tool", openai(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to "
        "each 'tool_call_id'.")),
    "quota": Said("schema", openai("Your credit balance is too low to access the API.")),
    "two-clauses": Said("schema", openai(
        "We read your response_format. The parameter 'logit_bias' is not supported.")),
    "vllm-seed": Said("tool", vllm("seed: Input should be a valid integer")),
}  # fmt: skip
