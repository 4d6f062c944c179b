"""What is said of WordPiece, BERT and what it learns from, in Chinese."""

TABLE: dict[str, str] = {
    # --- wordpiece ---
    'accents="{name}": {alternatives}': 'accents="{name}"：没有这种处理方式；{alternatives}',
    'vocabulary={vocabulary}: at least 64 pieces are wanted.': 'vocabulary={vocabulary}：至少要有 64 个词片。',
    'path: "{path}" has no token "{token}", and a WordPiece vocabulary has one.{nearest}': (
        'path：“{path}”里没有词元“{token}”，而 WordPiece 词表必须有它。{nearest}'
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
}
