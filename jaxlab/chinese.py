"""The one table of translations: what `jaxlab.messages.say` says, in Chinese. The same places, whose order is free."""

CHINESE: dict[str, str] = {
    ' Did you mean "{name}"?': ' 您是不是想写 "{name}"？',
}
