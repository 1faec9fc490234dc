"""Words that say nothing of what a text is about, of the languages most texts are in."""

from functools import cache
from typing import Final

_BY_LANGUAGE: Final = {
    "en": """
        a about above after again against all also although always am among an and another any anyone anything are
        around as at be became because become been before being below between both but by can cannot could did do does
        doing done down during each either else etc even ever every few first for from further get gets give given go
        had has have having he her here hers him his how however i if in instead into is it its itself just last least
        less let like made make makes many may me might more most much must my neither never no nor not now of off often
        on once one only onto or other others otherwise our out over own per perhaps quite rather really said same say
        second see seem shall she should since so some something still such take than that the their them then there
        therefore these they thing things this those though three through thus to too two under until up upon us use
        used uses using usually very was way we well were what when where whether which while who whom whose why will
        with within without would yet you your don't doesn't isn't it's can't didn't won't i'm that's there's e.g i.e
        """,
    "de": """
        aber alle allem allen aller alles als also am an andere anderen auch auf aus bei beim bereits bin bis bist da
        dabei dadurch daher damit dann das dass dazu dein dem den denn der deren des dessen die dies diese diesem diesen
        dieser dieses doch dort du durch ein eine einem einen einer eines er es etwa etwas euch für gegen hat hatte
        hatten haben hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in ins ist ja jede jedem jeden
        jeder jedes jedoch jetzt kann kein keine keinen können konnte man mehr mein mit müssen muss nach nicht nichts
        noch nun nur ob oder ohne schon sehr sein seine seinem seinen seiner seit selbst sich sie sind so sogar soll
        sollte sondern sowie über um und uns unser unter viel viele vom von vor war waren was weil weiter welche wenn
        wer werden wie wieder will wir wird wo wurde wurden während zu zum zur zwar zwei zwischen
        """,
    "fr": """
        ai alors après au aussi autre autres aux avait avant avec avoir c'est car ce cela celle celui ces cet cette ceux
        chaque chez comme dans de depuis des deux dont donc du elle elles en encore entre est et étaient était été être
        eu eux fait fois font il ils je jusque la le les leur leurs lors lorsque lui ma mais même mes moins mon ne ni
        non nos notre nous on ont ou où par parce pas pendant peu peut peuvent plus plusieurs pour pourquoi près puis
        qu'il qu'un qu'une quand que quel quelle quelques qui quoi sa sans se selon ses si soit son sont sous sur ta
        tandis te tes toi ton tous tout toute toutes très trop tu un une vers vos votre vous y
        """,
    "es": """
        a al algo algunas algunos ante antes aquel así aunque bajo bien cada como con contra cual cuando de del desde
        después donde dos durante e el él ella ellas ellos en entre era eran eres es esa ese eso esta está están estaba
        este esto estos estas fue fueron ha había hacia han hasta hay la las le les lo los más me mediante mi mientras
        misma mismo mucho muchos muy nada ni no nos nosotros o otra otras otro otros para parte pero poco por porque
        pues puede pueden que qué quien se sea según ser si sí sido sin sobre son su sus también tan tanto te tenía
        tiene tienen todo todos toda todas tras tu un una uno unos unas usted ya y yo
        """,
    "it": """
        a ad agli ai al alla alle allo altri altro anche ancora anni avere aveva c'è che chi ci come con contro cosa
        così cui da dagli dai dal dalla dalle degli dei del dell della delle dello di dopo dove due durante e è ed era
        erano essere fino fra fu furono gli ha hanno i il in io la le lei li lo loro lui ma me mentre mi molto molti
        negli nei nel nella nelle nello no noi non nostro o ogni oltre per perché più po poi possono prima può qual
        quale quali quando quanto quella quelle quelli quello questa queste questi questo qui se sei sempre senza si
        sia siamo solo sono sta stato stata stati su sua sue sugli sui sul sulla sulle suo suoi tra tu tutte tutti tutto
        un una uno vi viene
        """,
    "pt": """
        a ainda além algumas alguns ante antes ao aos apenas após as até cada com como contra da das de depois desde
        dessa desse desta deste do dois dos durante e é ela elas ele eles em enquanto então entre era eram essa esse
        esta está este estes eu foi foram há isso isto já lhe mais mas me mesmo meu minha muito muitos na não nas nem
        nessa nesse nesta neste no nos nós numa o onde os ou outra outras outro outros para pela pelas pelo pelos pode
        podem por porque qual quando que quem são se seja sem ser será seu seus sido sob sobre sua suas também tão tem
        têm tinha todo todos toda todas tu um uma umas uns você
        """,
    "nl": """
        aan al alle als altijd andere ben bij daar dan dat de der deze die dit doch doen door dus een en enkele er ge
        geen geworden haar had hadden heb hebben heeft hem het hij hoe hun iets ik in is ja je kan kon konden kunnen
        maar me meer men met mij mijn moet na naar niet niets nog nu of om omdat onder ons ook op over reeds sinds te
        tegen ten ter tijdens toch toen tot tussen twee u uit uw van veel voor waar waren was wat we wel werd werden wie
        wij wil worden wordt zal ze zich zij zijn zo zoals zonder zou zouden
        """,
    "ru": """
        а без более бы был была были было быть в вам вас весь во вот все всё всего всех вы где да даже для до его ее её
        ей ему если есть еще ещё же за здесь и из или им их к как какой когда который которая которое которые которых ко
        кто ли либо между меня мне может можно мой мы на над нас не него нее неё нет ни них но о об однако он она они
        оно от очень по под после потому почти при про с сам свой себя со так также такой там те тем то того тоже той
        только том тот ты у уже чем через что чтобы чья эта эти это этого этой этом этот я является
        """,
    "tr": """
        ama ancak aslında az bazı ben bir biri birçok biz bu bunu bunun çok çünkü da daha de defa değil diğer diye en
        fakat gibi göre hem hep hepsi her hiç için içinde ile ise kadar ki kim mı mi mu mü nasıl ne neden o olan olarak
        oldu olduğu olduğunu olması on ona onlar onu onun sonra siz şey şu tarafından tüm üzere ve veya ya yani
        """,
    "el": """
        αλλά αν από αυτά αυτές αυτή αυτό αυτοί αυτός για δεν είναι είχε ενώ ένα ένας επίσης έχει έχουν ή ήταν η θα και
        κατά μας με μετά μη μια μόνο να ο οι όμως όπως όταν ότι ου πιο που προς πως σαν σε στη στην στις στο στον στους
        τα της τη την τι τις το τον του τους των ως
        """,
    "ro": """
        a ai al ale am ar are aceasta această aceste acest acestea acestor acestui au avea avut ca că care cât ce cei
        cel cele cea cu când dar de deși din doar după ea ei el ele este era erau fi fie fiind fost iar în între într
        îi își la le lor lui mai mult nu o pe pentru până poate prin printr s sa sale sau să se său si sunt și te toate
        tot un una unei unor unui unul
        """,
    "vi": """
        bị bởi các cái cho chỉ chúng có của cùng cũng đã đang đây đến để đó được gì hai hay hoặc họ khi không là làm
        lại lên mà mỗi một năm này nên nếu người nhiều như nhưng những nó ở ra rằng rất sau sẽ sự tại theo thì trên
        trong trước từ và vào vẫn về vì việc với
        """,
    "ar": """
        أن أنه أو إذا إلى إن التي الذي الذين أي ألا بعد بعض بين تم ثم حتى حيث خلال ذلك عام على عن عند غير في قبل قد كان
        كانت كل كما لا لم لها له لهم ليس ما مثل مع من منذ منها منه هذا هذه هم هو هناك هي و وقد وكان ولا وهو وهي يمكن
        """,
    "hi": """
        अपने अब आप इन इस इसके इसे उन उनके उस उसके एक ऐसे और कई कर करते करने कहा का की कि किया किसी कुछ के को कोई क्या गया
        जब जा जाता जैसे जो तक तो था थी थे दिया दो द्वारा न नहीं ने पर बाद भी में यह या ये रहा रहे लिए वह वे से हुए हुआ हैं है
        हो होता होती होने
        """,
}


@cache
def stop_words() -> frozenset[str]:
    """All of them, in lower case."""
    return frozenset(word for words in _BY_LANGUAGE.values() for word in words.split())
