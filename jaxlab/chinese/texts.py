"""What is said of texts with classes, tags and answers, in Chinese; see `jaxlab.chinese`."""

TABLE: dict[str, str] = {
    # --- files of texts ---
    '"{path}" is no .tsv, .csv or .jsonl file by its name: say what stands between its columns,'
    ' --config.data.source.separator=tab (or another character, or json).': (
        '从文件名看，“{path}”不是 .tsv、.csv 或 .jsonl 文件：请说明各列之间是什么，'
        '--config.data.source.separator=tab（或别的字符，或 json）。'
    ),
    '"{path}" has no line that is an object of JSON: {{"text": "…", "label": "…"}}.': (
        '“{path}”中没有一行是 JSON 对象：{{"text": "…", "label": "…"}}。'
    ),
    'header="auto": the first line of "{path}" could be names or data: {cells}; say which, with yes or no.': (
        'header="auto"：“{path}”的第一行可能是列名，也可能是数据：{cells}；请用 yes 或 no 说明。'
    ),
    'no object of JSON': '不是 JSON 对象',
    '"{path}" has no column {missing}; its columns are: {columns}.': '“{path}”没有 {missing} 列；它的列有：{columns}。',
    '"{path}" has the columns {columns}: say which are the text and its class,'
    ' --config.data.source.text=… --config.data.source.label=…': (
        '“{path}”的列有 {columns}：请说明哪一列是文本、哪一列是类别，'
        '--config.data.source.text=… --config.data.source.label=…'
    ),
    '"{path}": text, second and label are three columns, and two of them are one.': (
        '“{path}”：text、second 和 label 应为三列，其中两个是同一列。'
    ),
    'the key "{name}" is missing': '缺少键“{name}”',
    'a text is empty': '文本是空的',
    'half a character, which is no text': '半个字符，这不是文本',
    '"{path}" has one class only: "{name}".': '“{path}”只有一个类别：“{name}”。',
    '"{path}" has classes that the training part has not: {names} (the first in line {number:,}).\n'
    'The training part has: {labels}': (
        '“{path}”中有训练部分没有的类别：{names}（第一个在第 {number:,} 行）。\n训练部分的类别有：{labels}'
    ),
    'path is not set: give a .tsv, .csv or .jsonl file.': '没有设置 path：请给出一个 .tsv、.csv 或 .jsonl 文件。',
    '{name} has {count} examples only, and none for the part "{part}": config.data.source.divide=false'
    ' leaves them whole.': (
        '{name} 只有 {count} 个样本，“{part}”部分一个也没有：config.data.source.divide=false 不作划分。'
    ),
    # --- rows of tokens ---
    '{source} has texts: data.text_examples reads it.': '{source} 是文本：请用 data.text_examples 读取。',
    '{source} has no texts with classes: data.pictures or data.table reads it.': (
        '{source} 没有带类别的文本：请用 data.pictures 或 data.table 读取。'
    ),
    '{source} has rows of one text and rows of two.': '{source} 中有的行是一个文本，有的行是两个。',
    'length={length}: a row has at least {least} tokens.': 'length={length}：一行至少有 {least} 个词元。',
    'the classes have changed since this experiment was begun: they were {before}, and are {now}.': (
        '自实验开始以来，类别变了：原来是 {before}，现在是 {now}。'
    ),
    '{name}: {counts} texts of at most {length} of {vocabulary:,} tokens; fingerprint {fingerprint}': (
        '{name}：文本数 {counts}，每个最多 {length} 个词元（词表 {vocabulary:,}）；指纹 {fingerprint}'
    ),
    '{summary}; {cut:,} of {total:,} texts are longer and were cut': (
        '{summary}；{total:,} 个文本中有 {cut:,} 个更长，已截断'
    ),
    'this experiment is about {wanted} text(s), and {count} came: two have a tab between them.': (
        '这个实验需要 {wanted} 个文本，而给出的是 {count} 个：两个文本之间用制表符分开。'
    ),
    # --- length buckets ---
    'buckets={buckets}: growing whole numbers below length={length} are wanted, such as (32, 64); () for none.': (
        'buckets={buckets}：应为小于 length={length} 的递增整数，如 (32, 64)；() 表示没有。'
    ),
    'config.{key}={value} wants batches of one shape: config.data.buckets=() makes such.': (
        'config.{key}={value} 要求各批形状相同：请设置 config.data.buckets=()。'
    ),
    # --- questions ---
    'question={question}: of a row of length={length} tokens at least 11 are left for the text.': (
        'question={question}：一行 length={length} 个词元中，至少要给文本留下 11 个。'
    ),
    'stride={stride}: a window begins at least one token after the one before.': (
        'stride={stride}：每个窗口至少比前一个晚一个词元开始。'
    ),
    '{source} has no questions: sources such as squad_files do.': '{source} 没有问题：squad_files 之类的来源才有。',
    '{source}: no question of its part "train" has its answer in its text.': (
        '{source}：“train”部分没有一个问题的答案在其文本中。'
    ),
    '{name}: questions (and rows) {counts}; fingerprint {fingerprint}': (
        '{name}：问题数（与行数）{counts}；指纹 {fingerprint}'
    ),
    '{line}; of {count:,} questions no answer stands in the text: not trained on, counted as wrong': (
        '{line}；有 {count:,} 个问题的答案不在文本中：不用于训练，评估时计为错误'
    ),
    '{line}; {count:,} answers begin or end inside a token': '{line}；有 {count:,} 个答案的首尾在词元之内',
    '{line}; {count:,} questions were cut': '{line}；有 {count:,} 个问题被截断',
    '{line}; {count:,} questions without any answer were left out': '{line}；略去没有任何答案的问题 {count:,} 个',
    '"{path}" is no file of SQuAD v1.1 ({error}): data, paragraphs, context, qas, question, answers, text,'
    ' answer_start.': (
        '“{path}”不是 SQuAD v1.1 的文件（{error}）：data、paragraphs、context、qas、question、answers、text、'
        'answer_start。'
    ),
    '"{path}" has no question with an answer.': '“{path}”中没有带答案的问题。',
    'path is not set: give a .json file of questions, as SQuAD has them.': (
        '没有设置 path：请给出一个 SQuAD 格式的 .json 问题文件。'
    ),
    '"{path}" has too few texts to divide: config.data.source.divide=false.': (
        '“{path}”的文本太少，无法划分：config.data.source.divide=false。'
    ),
    'a question and a text are wanted, in a tuple or with a tab between.': (
        '需要一个问题和一个文本，放在元组中，或用制表符分开。'
    ),
    'config.task.name=question_answering wants a question and a text: data.squad reads such.': (
        'config.task.name=question_answering 需要问题和文本：data.squad 读取这样的数据。'
    ),
    'longest={longest}: an answer has 1 to 1000 tokens.': 'longest={longest}：一个答案有 1 到 1000 个词元。',
    # --- words with tags ---
    'warning: {count:,} of {all:,} sentences of "{path}" are left out; the first: {error}': (
        '警告：“{path}”的 {all:,} 个句子中略去了 {count:,} 个；第一个：{error}'
    ),
    '"{path}" is not UTF-8 text.': '“{path}”不是 UTF-8 文本。',
    '"{path}" has no sentence: a line is a word and its tag.': '“{path}”中没有句子：每行应是一个词及其标签。',
    '{record}: {count} columns, and {wanted} or more are wanted.\n'
    'Mend it, or leave such sentences out: --config.data.source.bad=skip': (
        '{record}：有 {count} 列，至少应有 {wanted} 列。\n请修好它，或略去这样的句子：--config.data.source.bad=skip'
    ),
    '{name} has one tag only: "{tag}".': '{name} 只有一个标签：“{tag}”。',
    '{name}: its part "{part}" has tags that the training part has not: {names}.\nThe training part has: {labels}': (
        '{name}：“{part}”部分有训练部分没有的标签：{names}。\n训练部分的标签有：{labels}'
    ),
    'path is not set: give a file with a word and its tag a line.': (
        '没有设置 path：请给出一个每行一个词及其标签的文件。'
    ),
    'word={word}, tag={tag}: columns are counted from 0, and -1 is the last one.': (
        'word={word}，tag={tag}：列从 0 数起，-1 是最后一列。'
    ),
    'lines of Python {version}': 'Python {version} 的代码行',
    'This Python has no source text of its standard library in "{folder}" to learn from.\n'
    'Give words of your own: --config.data.source.name=conll --config.data.source.path=FILE': (
        '这个 Python 的“{folder}”中没有标准库的源代码可供学习。\n'
        '请给出自己的词：--config.data.source.name=conll --config.data.source.path=FILE'
    ),
    '{source} has no words with tags: sources such as conll do.': '{source} 没有带标签的词：conll 之类的来源才有。',
    '{name}: {counts} sentences of {classes} tags; fingerprint {fingerprint}': (
        '{name}：句子数 {counts}，标签 {classes} 种；指纹 {fingerprint}'
    ),
    '{line}; {count:,} words are beyond {length} tokens and were cut': (
        '{line}；有 {count:,} 个词超出 {length} 个词元，已截断'
    ),
    'a text has no word to tag.': '文本中没有可标注的词。',
    'config.task.name=tagging wants words with tags: data.tagging reads such.': (
        'config.task.name=tagging 需要带标签的词：data.tagging 读取这样的数据。'
    ),
    # --- evaluation ---
    'what it is most sure of, and wrong about:': '最有把握却错了的：',
    # --- texts that are there already ---
    'docstrings of Python {version}': 'Python {version} 的文档字符串',
    'This Python has no source text of its standard library in "{folder}" to learn from.\n'
    'Give text of your own: --config.data.source.name=text_table --config.data.source.path=FILE': (
        '这个 Python 的“{folder}”中没有标准库的源代码可供学习。\n'
        '请给出自己的文本：--config.data.source.name=text_table --config.data.source.path=FILE'
    ),
    'questions about Python {version}': '关于 Python {version} 的问题',
    'This Python has no source text of its standard library in "{folder}" to learn from.\n'
    'Give questions of your own: --config.data.source.name=squad_files --config.data.source.path=FILE': (
        '这个 Python 的“{folder}”中没有标准库的源代码可供学习。\n'
        '请给出自己的问题：--config.data.source.name=squad_files --config.data.source.path=FILE'
    ),
    'its class is {target}, and there are 0 to {last}': '类别是 {target}，而类别只有 0 到 {last}',
    'warning: {count:,} of {all:,} records of {name} are left out; the first: {error}': (
        '警告：{name} 的 {all:,} 条记录中略去了 {count:,} 条；第一条：{error}'
    ),
    '{record} cannot be read ({error}).\nMend it, or leave such records out: --config.data.source.bad=skip': (
        '{record} 无法读取（{error}）。\n请修好它，或略去这样的记录：--config.data.source.bad=skip'
    ),
}
