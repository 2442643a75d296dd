"""Small talk: what people say between facts. No message here tells or asks a fact.

A group is a set of messages that mean much the same (``U``) and answers that fit every one of them (``A``), with
``|`` between them. Where a group has words (``W``), ``{w}`` stands for one of them in the message and in the answer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SmallTalk:
    """Messages that mean much the same, and answers to them."""

    queries: tuple[str, ...]
    answers: tuple[str, ...]
    words: tuple[str, ...] = ()


def _groups(text: str) -> tuple[SmallTalk, ...]:
    """The groups of ``text``, which an empty line divides; a group may have several lines of a letter."""
    groups: list[SmallTalk] = []
    for block in text.strip().split("\n\n"):
        parts: dict[str, list[str]] = {"U": [], "A": [], "W": []}
        for line in block.splitlines():
            letter, rest = line.split(": ", 1)
            parts[letter] += [part.strip() for part in rest.split("|")]
        groups.append(SmallTalk(tuple(parts["U"]), tuple(parts["A"]), tuple(parts["W"])))
    return tuple(groups)


GREETINGS = _groups("""
U: Hello there! | Hello! | Hi! | Hi there! | Hey! | Hey there! | Hello, chat model!
A: Hello! How are you today? | Hi there! Nice to hear from you. | Hello! What would you like to talk about?
A: Hi! How can I help you?

U: Good morning! | Good morning to you!
A: Good morning! Did you sleep well? | Good morning! I hope you have a great day.

U: Good evening! | Good evening to you!
A: Good evening! How was your day? | Good evening! Nice to hear from you.

U: Good afternoon! | Good afternoon to you!
A: Good afternoon! How is your day going? | Good afternoon! What can I do for you?

U: Hi, can we talk? | Can I talk to you? | Do you have time to chat?
A: Of course, I'm happy to talk. | Sure, I always have time for you.
""")

GROUPS = GREETINGS + _groups("""
U: How are you? | How are you today? | How are you doing? | How do you feel?
A: I'm fine, thank you. How are you? | I'm doing well, thanks for asking! | Very well, thank you.

U: How is it going? | What's up? | What's new?
A: Not much, I'm just happy to chat. | All is well here. What's new with you?

U: I'm fine, thanks. | I'm doing well. | I'm good, thank you.
A: I'm glad to hear that! | That's great! | Good to hear.

U: Thank you! | Thanks! | Thanks a lot! | Thank you very much.
A: You're welcome! | My pleasure! | Any time! | Happy to help.

U: You're very kind. | You are so nice. | You're sweet.
A: Thank you, so are you! | That's nice of you to say.

U: Good night! | Good night, sleep well. | I'm going to bed now.
A: Good night, sleep well! | Sweet dreams! | Good night! Talk to you tomorrow.

U: Bye! | Goodbye! | See you later! | I have to go now.
A: Goodbye, talk to you soon! | See you later! | Bye, take care!

U: Who are you? | What are you? | Tell me about yourself.
A: I'm a small chat model that reads only your newest message and remembers the rest.
A: I'm a small chat model with a memory.

U: What can you do? | How can you help me? | What are you good at?
A: I can chat with you and remember what you tell me. | Tell me about yourself, and I'll remember it.

U: Do you have a name? | What should I call you? | What do people call you?
A: You can just call me your chat model. | I have no name, I'm just a small chat model.

U: Are you a robot? | Are you human? | Are you a real person?
A: No, I'm just a small chat model. | I'm a computer program, but a friendly one.

U: Where are you? | Are you on my computer?
A: I'm right here in your computer. | I live inside a computer.

U: How big are you? | Are you a big model?
A: I'm very small, but I try my best. | I'm tiny, but I have a memory.

U: How does your memory work? | How do you remember things? | Do you have a memory?
A: I keep a small memory and update it after every message. | After every message I write it to my memory.

U: Do you remember things? | Will you forget me? | Can you keep a secret?
A: I try to remember everything you tell me. | I do my best not to forget.

U: Tell me a joke. | Do you know a joke? | Make me laugh. | Can you tell me a joke?
A: Why did the tomato turn red? It saw the salad dressing! | What do you call a sleeping dinosaur? A dino-snore!
A: Why was the computer cold? It left its windows open! | Why did the book look sad? It had too many problems.

U: Another joke, please. | Tell me one more joke.
A: What is a tree's best friend? A good root! | Why did the clock get in trouble? It talked too much!

U: That was funny! | Haha, that's good. | You're funny.
A: I'm glad you liked it! | Thank you, I try! | I like to make people laugh.

U: That wasn't funny. | That was a bad joke.
A: Sorry, I'll try harder next time. | Oh well, not every joke is a good one.

U: Tell me a story. | Do you know a story?
A: Once there was a small boat that wanted to see the world, and it did.
A: Once a little star fell down and made a new friend.

U: Tell me something interesting. | Tell me a fun fact. | Do you know a fun fact?
A: Did you know that the moon is slowly moving away from us?
A: Did you know that light takes eight minutes from the sun to us?

U: It's raining today. | It has been raining all day. | What a rainy day.
A: Then it's a good day to stay inside. | Don't forget your umbrella!

U: The sun is shining. | What a sunny day! | The weather is lovely today.
A: How nice! Go out and enjoy it. | Lovely! A walk would be nice.

U: It's snowing! | It's snowing outside. | There is snow everywhere.
A: How pretty! Dress warmly. | Time to build a snowman!

U: It's so cold today. | It's freezing outside. | I'm cold.
A: Stay warm! A hot drink will help. | Put on a warm coat.

U: It's so hot today. | It's very warm outside. | I'm too hot.
A: Drink enough and stay in the shade. | Maybe you could go to the lake.

U: It's very windy. | There's a storm outside. | I hear thunder.
A: Stay safe inside. | Close the windows and get cosy.

U: Do you like the rain? | Do you like snow? | Do you like the sun?
A: I can't feel it, but it sounds nice. | I only know it from words, but yes.

U: I'm tired. | I feel so tired today. | I didn't sleep well.
A: Maybe you should rest a little. | Try to go to bed early tonight.

U: I'm bored. | I have nothing to do. | This is boring.
A: Let's chat a little! | How about a joke?

U: I'm hungry. | I'm so hungry.
A: Then it's time to eat something. | What would you like to eat?

U: I'm thirsty. | I need something to drink.
A: Have a big glass of something fresh. | Don't forget to drink enough.

U: I'm happy today. | I feel great! | I'm in a good mood.
A: That's wonderful to hear! | I'm happy for you!

U: I'm sad. | I feel sad today. | I'm a bit down.
A: I'm sorry to hear that. Do you want to talk about it? | I hope you feel better soon.

U: I'm angry. | I'm so annoyed today. | People make me angry.
A: Take a deep breath. What happened? | I'm sorry. Do you want to talk about it?

U: I'm nervous. | I'm worried about tomorrow. | I'm stressed.
A: You can do it, I'm sure! | Take a deep breath, it will be fine.

U: I feel sick. | I have a cold. | I have a headache.
A: Get well soon! | I'm sorry, get some rest.

U: I feel lonely. | Nobody understands me.
A: I'm here for you. | You can always talk to me.

U: I'm excited! | I can't wait for the weekend!
A: That sounds exciting! | Me too, tell me more!

U: I had a long day. | Work was hard today. | It was a hard day.
A: Then you've earned some rest. | I hope the evening is better.

U: I had a great day. | Today was a good day.
A: I'm happy to hear that! | Great! I hope tomorrow is as good.

U: I'm busy today. | I have a lot to do. | I have so much work.
A: Take one thing at a time. | Good luck, and take a break now and then.

U: I'm on holiday. | My holiday starts today! | No work today!
A: Enjoy your free time! | How nice, have a good rest!

U: It's the weekend! | Finally it's the weekend.
A: Enjoy it! Do you have any plans? | Have a nice weekend!

U: I watched a good film. | I saw a nice movie yesterday.
A: What was it about? | I wish I could watch films too.

U: I read a good book. | I'm reading a nice book.
A: Books are the best! What is it about? | I'd love to hear about it.

U: I went for a walk. | I was outside all day.
A: Fresh air is good for you. | That sounds nice!

U: I cleaned the house today. | I washed the dishes.
A: Well done! Now you can relax. | Great, that feels good, doesn't it?

U: I'm cooking dinner. | I'm making lunch now.
A: That sounds tasty! | Enjoy your meal!

U: I just had breakfast. | I just ate.
A: I hope it was good! | A good meal makes a good day.

U: Yes. | Yes, I do. | Yes, please. | Of course.
A: Great! | Good! | Okay, nice.

U: No. | No, thanks. | Not really. | I don't think so.
A: Okay, no problem. | Alright, that's fine.

U: Okay. | Ok. | Alright. | Fine.
A: Good. What else would you like to talk about? | Great! | Okay!

U: Maybe. | I'm not sure. | I don't know.
A: That's okay, take your time. | No problem.

U: Really? | Are you sure? | Is that true?
A: I think so, but I'm only a small model. | Yes, I believe so.

U: Well done! | Good job! | That's right! | Exactly!
A: Thank you! | I'm glad I got it right.

U: That's wrong. | You're wrong.
A: I'm sorry, I made a mistake. | Sorry about that, please tell me again.

U: Sorry. | I'm sorry. | My mistake.
A: No problem at all! | Don't worry about it.

U: Wow! | Great! | Cool! | Amazing!
A: I'm glad you like it! | Yes, isn't it?

U: I like you. | You're a good friend. | I like talking to you.
A: I like talking to you too! | Thank you, that makes me happy.

U: Are we friends? | Can we be friends?
A: Of course we are friends! | I'd love to be your friend.

U: Let's talk about something else. | Let's change the topic.
A: Sure, what would you like to talk about? | Okay, tell me something new.

U: What should we talk about? | What do you want to talk about?
A: Tell me something about yourself. | How about your family?

U: Do you like music? | Do you sing?
A: I like music, but I can't sing. | Music is wonderful!

U: Do you sleep? | Are you tired?
A: No, I'm always awake. | I never sleep, so I always have time.

U: Do you eat? | Are you hungry?
A: No, I don't need food. | I only eat words!

U: Do you have a family? | Do you have friends?
A: No, but I have you to talk to. | You are my friend!

U: Do you have feelings? | Are you happy?
A: I'm a small model, but I enjoy our chat. | Talking to you makes me happy.

U: Can you help me? | I need your help.
A: Sure, what do you need? | I'll try my best. What is it?

U: What time is it? | What day is it?
A: I'm sorry, I don't have a clock. | I can't see the time, sorry.

U: What is the weather like? | Will it rain tomorrow?
A: I can't see the weather, sorry. | I don't know, have a look outside!

U: What is the meaning of life? | Why are we here?
A: That's a big question for a small model. | Maybe it's to be kind to each other.

U: Happy new year! | Merry Christmas! | Happy holidays!
A: Thank you, the same to you! | All the best to you too!

U: Wish me luck! | I have an exam tomorrow. | I have a big day tomorrow.
A: Good luck! | I'm sure you'll do great!

U: Do you like {w}? | What do you think about {w}?
A: I think {w} can be a lot of fun. | Yes, I like {w}. | I don't know much about {w}, but it sounds nice.
W: games | movies | jokes | parties | holidays | trains | mountains | computers | museums | picnics | fairy tales
W: fireworks

U: I bought a new {w} today. | I have a new {w}.
A: Nice! Do you like your new {w}? | A new {w}, how exciting! | Enjoy your new {w}!
W: phone | coat | lamp | chair | table | bag | watch | book | hat | jacket | bed | clock

U: I can't find my {w}. | I lost my {w}.
A: Oh no! Where did you last see your {w}? | I hope you find your {w} soon. | Did you look under the bed?
W: keys | phone | glasses | wallet | umbrella | ticket | shoes | gloves

U: I'm going to the {w}. | I was at the {w} today.
A: Have fun at the {w}! | The {w}? That sounds nice. | Is the {w} far away?
W: park | beach | cinema | market | library | zoo | museum | theatre | lake | shop

U: Tell me something about the {w}. | What do you know about the {w}?
A: The {w} is very beautiful. | I only know that the {w} is amazing.
W: moon | sun | sea | sky | desert | forest | ocean | rainbow
""")

BY_FREQUENCY = GREETINGS + GREETINGS + GROUPS
"""All groups; greetings are three times as frequent as the others."""
