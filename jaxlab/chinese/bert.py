"""What is said of WordPiece, BERT and what it learns from, in Chinese."""

TABLE: dict[str, str] = {
    'config.task: these tokens have no end of text, behind which a text begins; data.text has it.': (
        'config.task：这些词元中没有文本结束符，而文本从它之后开始；data.text 有它。'
    ),
    # --- wordpiece ---
    'accents="{name}": {alternatives}': 'accents="{name}"：没有这种处理方式；{alternatives}',
    'vocabulary={vocabulary}: at least 64 pieces are wanted.': 'vocabulary={vocabulary}：至少要有 64 个词片。',
    'path: "{path}" has no token "{token}", and a vocabulary of {kind} has one.{nearest}': (
        'path：“{path}”里没有词元“{token}”，而 {kind} 的词表必须有它。{nearest}'
    ),
    'path: "{path}" cuts texts into words in a way of its own, and not as RoBERTa.': (
        'path：“{path}”用自己的方式把文本切成词，而不是 RoBERTa 的方式。'
    ),
    'path: there is no vocab.txt and no tokenizer.json at "{path}".': (
        'path：“{path}”处既没有 vocab.txt，也没有 tokenizer.json。'
    ),
    'path: "{file}" is no WordPiece vocabulary, whose pieces continue with "##".': (
        'path：“{file}”不是 WordPiece 词表（其后续词片以“##”开头）。'
    ),
    'path: "{path}" has words with capitals, such as "{token}": lowercase=False keeps those of the text.': (
        'path：“{path}”里有带大写字母的词，例如“{token}”：lowercase=False 会保留文本中的大写。'
    ),
    # --- bert ---
    'next_sentence=True is told from what the pooler makes: set pooler=True, or next_sentence=False.': (
        'next_sentence=True 要根据 pooler 的输出来判断：请设 pooler=True，或 next_sentence=False。'
    ),
    # --- masked text ---
    'the English prose of Python {version}': 'Python {version} 自带的英文',
    'whole modules and topics with sha256(name) % 20 == 0': '满足 sha256(名称) % 20 == 0 的整个模块和主题',
    'length={length}: a row has at least 8 tokens.': 'length={length}：一行至少有 8 个词元。',
    '{name}={value}: a share is wanted, from 0 to 1, such as 0.15.': (
        '{name}={value}：应是 0 到 1 之间的比例，例如 0.15。'
    ),
    'masked={masked} and swapped={swapped} are shares of the same tokens: together at most 1.': (
        'masked={masked} 和 swapped={swapped} 是同一批词元的比例：合起来至多为 1。'
    ),
    'config.data.processor.name={name} has no token "{wants}", which these data put into rows; {have} have it.': (
        'config.data.processor.name={name} 没有这类数据要放进行里的词元“{wants}”：{have} 有。'
    ),
    'config.data.path: no document of {corpus} has two sentences.': (
        'config.data.path：{corpus}中没有一个文档含两个句子。'
    ),
    # --- masked language model ---
    'config.model.next_sentence=True, and rows of these data are one text: set it to False, or'
    ' config.data.pairs=True.': (
        'config.model.next_sentence=True，而这些数据每行只有一段文本：请把它设为 False，或设 config.data.pairs=True。'
    ),
    '"{text}" has no gap: write {name} where a word is missing.': '“{text}”里没有空缺：请在缺词处写上 {name}。',
    'the text takes {count} tokens, and the model reads {context}.': (
        '这段文本有 {count} 个词元，而模型只读 {context} 个。'
    ),
    'config.model.head={head}: this task fills gaps, which the head masked does.': (
        'config.model.head={head}：这个任务填补空缺，要用的是 masked 头。'
    ),
    # --- published ---
    'config.json: {key}={value}, and our BERT has {wanted}.': 'config.json：{key}={value}，而我们的 BERT 是 {wanted}。',
    'config.model.types={types}: transformers tells a model with these words, which are those of RoBERTa, one type of'
    ' tokens; train it with config.model.types=1.': (
        'config.model.types={types}：这些词元是 RoBERTa 的，transformers 对使用它们的模型只给出一种词元类型；'
        '请用 config.model.types=1 训练。'
    ),
    # --- what a run begins with ---
    'nothing': '无',
    'none': '没有',
    'begins with {source}; left out of it: {left}; new here: {new}': (
        '从 {source} 开始；其中略去：{left}；这里新建：{new}'
    ),
    'config.init_from={source} knows other words than config.data.processor makes: "{word}" is token {theirs}'
    ' there, and {ours} here.\nTake its own: --config.data.processor.name={kind}'
    ' --config.data.processor.path={folder}': (
        'config.init_from={source} 的词与 config.data.processor 的不同：'
        '“{word}”在那里的词元号：{theirs}，在这里：{ours}。\n请用它自己的：--config.data.processor.name={kind}'
        ' --config.data.processor.path={folder}'
    ),
}
