"""What is said of published language models, their texts and their weights, in Chinese."""

TABLE: dict[str, str] = {
    '{name}={value}: 0 or more is wanted.': '{name}={value}：应为 0 或更大。',
    '{name}={value}: more than 1 is wanted.': '{name}={value}：应大于 1。',
    'rotary_fast={fast}: more than rotary_slow={slow} is wanted.': ('rotary_fast={fast}：应大于 rotary_slow={slow}。'),
}
