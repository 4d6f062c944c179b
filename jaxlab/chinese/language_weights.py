"""What is said of published language models, their texts and their weights, in Chinese."""

TABLE: dict[str, str] = {
    '{name}={value}: 0 or more is wanted.': '{name}={value}：应为 0 或更大。',
    '{name}={value}: more than 1 is wanted.': '{name}={value}：应大于 1。',
    'rotary_fast={fast}: more than rotary_slow={slow} is wanted.': ('rotary_fast={fast}：应大于 rotary_slow={slow}。'),
    # --- pretrained/gpt.py ---
    'config.json: {key}={value}, and our GPT has {wanted}.': 'config.json：{key}={value}，而我们的 GPT 是 {wanted}。',
    'config.json: {key}={value} changes all positions once a text is longer than {context} tokens, which our GPT does'
    ' not. Up to there it is "default": write that in its place, and keep config.model.context within.': (
        'config.json：{key}={value} 会在文本超过 {context} 个词元后改变所有位置，而我们的 GPT 不会。'
        '在此长度以内它就是 "default"：请改写成它，并让 config.model.context 不超过该长度。'
    ),
    'config.json: {key}={value}, and our GPT has {wanted}: take a model whose positions are one of these.': (
        'config.json：{key}={value}，而我们的 GPT 有 {wanted}：请选用位置编码属于其中之一的模型。'
    ),
    '{field}={value}: the {name} of transformers has {wanted}, and no other.': (
        '{field}={value}：transformers 的 {name} 只有 {wanted}。'
    ),
    '"{source}" has {theirs} tokens, and the model {ours}: another vocabulary.': (
        '"{source}" 有 {theirs} 个词元，而模型有 {ours} 个：词表不同。'
    ),
    # --- hub.py ---
    '{file} of "{source}" cannot be fetched from {endpoint} ({error}).\nSet HF_ENDPOINT to a mirror, or put what the'
    ' repository holds into a folder by hand (model.safetensors, config.json, …), and give the folder.': (
        '无法从 {endpoint} 获取“{source}”的 {file}（{error}）。\n请把 HF_ENDPOINT 设为镜像站，或手动把仓库里的文件'
        '（model.safetensors、config.json 等）放进一个文件夹，再给出该文件夹。'
    ),
    # --- data/processors/published.py ---
    'path: "{source}" has no vocabulary: no {names}.': 'path：“{source}”没有词表：没有 {names}。',
    'path: "{file}" does not give every text back as it was: with characters for tokens, spaces are wanted as ▁, with'
    ' one before the text, as Llama 2 has them.': (
        'path：“{file}”不能把每段文本原样还原：以字符为词元时，空格应写作 ▁，并在文本前加一个，如 Llama 2 那样。'
    ),
    'path: "{folder}" has its words in tokenizer.model alone, which is not read; put the tokenizer.json of the same'
    ' model beside it (transformers writes one:'
    ' AutoTokenizer.from_pretrained("{folder}").save_pretrained("{folder}")).': (
        'path：“{folder}”的词表只有 tokenizer.model，不能读取；请把同一模型的 tokenizer.json 放在旁边（transformers'
        ' 可以写出：AutoTokenizer.from_pretrained("{folder}").save_pretrained("{folder}")）。'
    ),
    # --- published.py, initial.py, experiment.py ---
    '"{source}": its config.json says model_type={kind}, and what can be asked as it is are {known}; others begin a'
    ' run with config.init_from.': (
        '“{source}”：它的 config.json 写着 model_type={kind}，能直接使用的有 {known}；其他的可用 config.init_from'
        ' 作为训练的开始。'
    ),
    'config.init_from={source}: these weights know {theirs} tokens, and config.data.processor has {ours}: another'
    ' vocabulary.': (
        'config.init_from={source}：这些权重有 {theirs} 个词元，而 config.data.processor 有 {ours} 个：词表不同。'
    ),
    '--step={step}: published weights have no steps.': '--step={step}：已发布的权重没有步数。',
    # --- export ---
    'Write a trained experiment as a folder that transformers loads: weights, config.json, and what goes with them.': (
        '把训练好的实验写成 transformers 能加载的文件夹：权重、config.json 以及随附的文件。'
    ),
    'a new folder, which transformers can load': '一个新文件夹，transformers 可以加载',
    'of the numbers; default: as they are': '数值的类型；默认：保持原样',
    'gigabytes of a file at most (default 5)': '每个文件最多多少 GB（默认 5）',
    '--shard={shard}: more than 0 is wanted, in gigabytes.': '--shard={shard}：应大于 0，单位是 GB。',
    'config.model.name={name}: nothing says how it is exported; that is known of {known}.': (
        'config.model.name={name}：没有说明如何导出它；已知的有 {known}。'
    ),
    # --- generate --beams ---
    'follow so many texts at a time and write the likeliest, without chance; 0: none (default)': (
        '同时跟踪这么多条文本并写出最可能的一条，不靠随机；0：不用（默认）'
    ),
    'with beams: above 0 favours long texts, below 0 short ones (default 1)': (
        '用于 beams：大于 0 偏向长文本，小于 0 偏向短文本（默认 1）'
    ),
    'with beams: when to stop before --tokens: no (by a guess), yes (as soon as there are so many), never': (
        '用于 beams：何时在 --tokens 之前停止：no（凭估计）、yes（一有这么多条就停）、never（从不）'
    ),
}
