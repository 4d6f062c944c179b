"""What is said of published language models, their texts and their weights, in Chinese."""

TABLE: dict[str, str] = {
    '{name}={value}: 0 or more is wanted.': '{name}={value}：应为 0 或更大。',
    '{name}={value}: more than 1 is wanted.': '{name}={value}：应大于 1。',
    'rotary_fast={fast}: more than rotary_slow={slow} is wanted.': ('rotary_fast={fast}：应大于 rotary_slow={slow}。'),
    # --- pretrained/gpt.py ---
    'config.json: {key}={value}, and our GPT has {wanted}.': 'config.json：{key}={value}，而我们的 GPT 是 {wanted}。',
    '{field}={value}: the {name} of transformers has {wanted}, and no other.': (
        '{field}={value}：transformers 的 {name} 只有 {wanted}。'
    ),
    '"{source}" has {theirs} tokens, and the model {ours}: another vocabulary.': (
        '"{source}" 有 {theirs} 个词元，而模型有 {ours} 个：词表不同。'
    ),
}
