"""What is said of recurrent nets and of attention, in Chinese."""

TABLE: dict[str, str] = {
    # --- models/rnn ---
    'bidirectional=True: a language model would see the words that it is to guess; False is wanted.': (
        'bidirectional=True：语言模型会看到它要猜的词；应为 False。'
    ),
    'tied=True: the table is the output layer too, so embedding={embedding} must be width={width}; 0 says so.': (
        'tied=True：词表同时也是输出层，所以 embedding={embedding} 必须等于 width={width}；0 即表示相等。'
    ),
    # --- attention_maps ---
    'of texts: also write where the heads of the model look, as pictures and pages': (
        '对文本：同时把模型各个头所看之处写成图片和网页'
    ),
    '--attention: this experiment is no language model, and no classification of texts.': (
        '--attention：这个实验既不是语言模型，也不是文本分类。'
    ),
    '--attention: {model} has no attention.': '--attention：{model} 没有注意力。',
}
