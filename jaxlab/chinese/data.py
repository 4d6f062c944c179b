"""What is said of where data come from, and what text becomes, in Chinese."""

TABLE: dict[str, str] = {
    'length={length}: a row has at least one token.': 'length={length}：一行至少有一个词元。',
    'stride={stride}: windows advance by 1 to length={length} tokens (0: by length).': (
        'stride={stride}：窗口每次前进 1 到 length={length} 个词元（0：前进 length 个）。'
    ),
    '{name}: {size:.1f} MB in {documents:,} documents, {tokens:,} tokens; held out {held_size:.1f} MB in'
    ' {held_documents:,} ({rule}); fingerprint {fingerprint}': (
        '{name}：{documents:,} 个文档，{size:.1f} MB，{tokens:,} 个词元；留出 {held_documents:,} 个文档，'
        '{held_size:.1f} MB（{rule}）；指纹 {fingerprint}'
    ),
    'turning {megabytes:.1f} MB of text into tokens, once': '正在把 {megabytes:.1f} MB 文本转成词元，只需这一次',
    'config.data.processor: this vocabulary loses text of "{document}", so bits per byte would mean nothing.\n'
    'Use one that keeps every byte, such as --config.data.processor.name=bpe': (
        'config.data.processor：这个词表会丢失“{document}”里的部分文本，每字节比特数就没有意义了。\n'
        '请换一个保留每个字节的，例如 --config.data.processor.name=bpe'
    ),
    'config.data.path: {corpus} leaves no text to train on. Held out: {rule}.': (
        'config.data.path：没有可供训练的文本（{corpus}）。留出部分：{rule}。'
    ),
    'config.data.path: {corpus} leaves no text to evaluate on. Held out: {rule}.': (
        'config.data.path：没有可供评估的文本（{corpus}）。留出部分：{rule}。'
    ),
    'Nothing can be written to the cache in "{folder}": {error}.\nThe variable JAXLAB_CACHE can name another folder.': (
        '无法写入缓存文件夹“{folder}”：{error}。\n可用环境变量 JAXLAB_CACHE 指定别的文件夹。'
    ),
    'config.data.path: "{path}" is not UTF-8: byte 0x{byte:02x} at position {position:,}.\n'
    'Convert it first, for example: iconv -f GB18030 -t UTF-8 old.txt > new.txt': (
        'config.data.path：“{path}”不是 UTF-8 编码：位置 {position:,} 处的字节是 0x{byte:02x}。\n'
        '请先转换编码，例如：iconv -f GB18030 -t UTF-8 old.txt > new.txt'
    ),
    # --- sources ---
    'the standard library of Python {version}': 'Python {version} 的标准库',
    'whole modules and packages with sha256(name) % 20 == 0': '满足 sha256(name) % 20 == 0 的整个模块和包',
    'This Python has no source text of its standard library in "{folder}" to learn from.\n'
    'Give text of your own: --config.data.path=FOLDER (or a .txt or .jsonl file).': (
        '这个 Python 没有标准库的源代码可供学习（找过“{folder}”）。\n'
        '请给出您自己的文本：--config.data.path=文件夹（或 .txt、.jsonl 文件）。'
    ),
    'config.data.path: the folder "{path}" holds no .txt or .jsonl file.': (
        'config.data.path：文件夹“{path}”里没有 .txt 或 .jsonl 文件。'
    ),
    'config.data.path: there is nothing at "{path}" (looked from "{here}").': (
        'config.data.path：找不到“{path}”（当前文件夹是“{here}”）。'
    ),
    'config.data.path: "{path}" is neither a .txt file, nor a .jsonl file, nor a folder of them.': (
        'config.data.path：“{path}”既不是 .txt 文件，也不是 .jsonl 文件，也不是放着这些文件的文件夹。'
    ),
    'config.data.path: no permission to read "{path}".': 'config.data.path：没有权限读取“{path}”。',
    'files with sha256(name) % 20 == 0': '满足 sha256(name) % 20 == 0 的文件',
    'the last twentieth of every file': '每个文件的最后二十分之一',
    'lines with sha256(text) % 20 == 0': '满足 sha256(text) % 20 == 0 的行',
    '{files} and {lines}': '{files}，以及{lines}',
    'config.data.path: "{path}", line {number:,} is no text: {line}\n'
    'Every line of a .jsonl file is an object with its text under the key "text": {{"text": "Once …"}}': (
        'config.data.path：“{path}”第 {number:,} 行不是文本：{line}\n'
        '.jsonl 文件的每一行应是一个对象，文本放在键 "text" 下：{{"text": "从前……"}}'
    ),
    # --- processors ---
    'vocabulary={vocabulary}: a byte-level vocabulary has at least 257 tokens.': (
        'vocabulary={vocabulary}：字节级词表至少有 257 个词元。'
    ),
    'sample_bytes={value}: must be positive.': 'sample_bytes={value}：必须是正数。',
    'learning {tokens:,} tokens from {megabytes:.1f} MB of text': (
        '正在从 {megabytes:.1f} MB 文本中学习 {tokens:,} 个词元'
    ),
    'path is not set: give the folder of the vocabulary, with encoder.json and vocab.bpe (or tokenizer.json).': (
        '没有设置 path：请给出词表所在的文件夹，里面有 encoder.json 和 vocab.bpe（或 tokenizer.json）。'
    ),
    'path: "{folder}" holds neither encoder.json and vocab.bpe, nor vocab.json and merges.txt, nor tokenizer.json.': (
        'path：“{folder}”里既没有 encoder.json 和 vocab.bpe，也没有 vocab.json 和 merges.txt，也没有 tokenizer.json。'
    ),
    'path: the vocabulary in "{path}" cannot be read: {error}': 'path：无法读取“{path}”里的词表：{error}',
    'path: "{file}" is no byte-level vocabulary (byte-pair encoding over bytes).': (
        'path：“{file}”不是字节级词表（基于字节的 BPE）。'
    ),
    'end_of_text="{token}" is no token of "{path}".{nearest}': 'end_of_text="{token}" 不是“{path}”里的词元。{nearest}',
}
